"""Attention in bf16 on CPUs that multiply it: two batched products around a softmax of our own.

Each shape of a product costs half a millisecond and a quarter of a megabyte once. So that few
occur, there are 2^i inputs in each, and lengths are rounded up to multiples of 16 (`Batch.blocks`).
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from shardrank.kernels.machine import multiplies_bf16
from shardrank.models.forward.batch import Batch, LengthGroup


@cache
def attends_in_bf16() -> bool:
    """Whether bf16 is the way to attend on this CPU: it multiplies that, and there is numba for
    the loops around, which the bare machine of a GPU may lack."""
    return find_spec("numba") is not None and multiplies_bf16()


def attend_in_bf16(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """As `shardrank.models.forward.attention.attend`, of bf16 on a CPU: [t or b, heads, d]."""
    from shardrank.kernels.attention_loops import gather  # numba: see `attends_in_bf16`

    found = torch.empty(queries.shape, dtype=torch.bfloat16)
    firsts = len(queries) != len(keys)
    for block in batch.blocks:
        k, v = spread_heads(keys, block), spread_heads(values, block)
        q = _first(queries, block) if firsts else spread_heads(queries, block)
        out = torch.bmm(_weights(q, k, block), v).view(len(block.sizes), -1, *q.shape[1:])
        if firsts:
            found[block.inputs] = out[:, :, 0]
        else:
            gather(words(out), block.begins, block.sizes, words(found))
    return found


def _weights(queries: Tensor, keys: Tensor, block: LengthGroup) -> Tensor:
    """bf16[inputs · heads, asked, length]: what each query takes of each token."""
    from shardrank.kernels.attention_loops import softmax_rows  # numba: see `attends_in_bf16`

    found = torch.bmm(queries, keys.transpose(1, 2))
    rows = found.view(torch.uint16).flatten(0, 1).numpy()
    softmax_rows(rows, block.sizes, len(rows) // len(block.sizes), queries.shape[2] ** -0.5)
    return found


def _first(queries: Tensor, block: LengthGroup) -> Tensor:
    """[b, heads, d] of one token an input → [inputs · heads, 1, d] of the block's."""
    return queries[block.inputs].flatten(0, 1).unsqueeze(1)


def spread_heads(x: Tensor, block: LengthGroup) -> Tensor:
    """[t, heads, d] → [inputs · heads, length, d] of the block: its inputs' tokens, then zeros."""
    from shardrank.kernels.attention_loops import spread  # numba: see `attends_in_bf16`

    out = torch.empty((len(block.sizes), x.shape[1], block.length, x.shape[2]), dtype=x.dtype)
    spread(words(x), block.begins, block.sizes, words(out))
    return out.flatten(0, 1)


def words(x: Tensor) -> Any:
    """Four numbers as one, where heads can be cut so: they are only moved."""
    return x.view(torch.int64 if x.shape[-1] % 4 == 0 else torch.int16).numpy()
