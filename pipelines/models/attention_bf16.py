"""Attention in bf16 on CPUs that multiply it: two batched products around a softmax of our own.

Each shape of a product costs half a millisecond and a quarter of a megabyte once. So that few
occur, there are 2^i inputs in each, and lengths are rounded up to multiples of 16 (`Batch.blocks`).
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pipelines.models.batch import Batch
from pipelines.models.machine import multiplies_bf16


@cache
def attends_in_bf16() -> bool:
    """Whether bf16 is the way to attend on this CPU: it multiplies that, and there is numba for
    the softmax, which the bare machine of a GPU may lack."""
    return find_spec("numba") is not None and multiplies_bf16()


def attend_in_bf16(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """As `pipelines.models.attention.attend`, of bf16 on a CPU: [t or b, heads, d]."""
    from pipelines.models.attention_kernels import gather, softmax_rows

    heads, width = keys.shape[1:]
    found = torch.empty(queries.shape, dtype=torch.bfloat16)
    firsts = len(queries) != len(keys)
    for block in batch.blocks:
        k, v = (_spread(x, block.begins, block.sizes, block.length) for x in (keys, values))
        asked = 1 if firsts else block.length
        q = (
            queries[block.inputs].reshape(-1, 1, width)
            if firsts
            else _spread(queries, block.begins, block.sizes, block.length)
        )
        weights = torch.bmm(q, k.transpose(1, 2))
        bits = weights.view(torch.uint16).flatten(0, 1).numpy()
        softmax_rows(bits, block.sizes, heads * asked, width**-0.5)
        out = torch.bmm(weights, v).view(-1, heads, asked, width)
        if firsts:
            found[block.inputs] = out[:, :, 0]
        else:
            gather(_words(out), block.begins, block.sizes, _words(found))
    return found


def _spread(x: Tensor, begins: Any, sizes: Any, length: int) -> Tensor:
    """[t, heads, d] → [inputs · heads, length, d]: an input's tokens, then zeros."""
    from pipelines.models.attention_kernels import spread  # numba: see `attends_in_bf16`

    out = torch.empty((len(sizes), x.shape[1], length, x.shape[2]), dtype=x.dtype)
    spread(_words(x), begins, sizes, _words(out))
    return out.flatten(0, 1)


def _words(x: Tensor) -> Any:
    """Four numbers as one, where heads can be cut so: they are only moved."""
    return x.view(torch.int64 if x.shape[-1] % 4 == 0 else torch.int16).numpy()
