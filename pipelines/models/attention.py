"""Attention within inputs that stand one after another (Vaswani et al. 2017, arXiv:1706.03762)."""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from pipelines.models.batch import Batch
from pipelines.models.machine import multiplies_bf16


def attend(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """softmax(q·kᵀ/√d)·v of each head, each token among those of its own input.

    Args:
        queries: [t, heads, d] of all tokens, or [b, heads, d] of the first ones only.
        keys, values: [t, heads, d] of all tokens.
        batch: where inputs begin and end.

    Returns:
        As queries, with the heads side by side: [t or b, heads · d].
    """
    way = _varlen if _flashes(queries) else _grouped
    return way(queries, keys, values, batch).flatten(1)


@cache
def attends_in_bf16() -> bool:
    """Whether bf16 is the way to attend on this CPU: it multiplies that, and there is numba for
    the softmax, which the bare machine of a GPU may lack."""
    return find_spec("numba") is not None and multiplies_bf16()


def _flashes(queries: Tensor) -> bool:
    """Whether FlashAttention takes these: 16 bits, heads of 8·i ≤ 256, and an Ampere or later."""
    width = queries.shape[2]
    return (
        queries.is_cuda
        and queries.dtype in (torch.float16, torch.bfloat16)
        and width % 8 == 0
        and width <= 256
        and torch.cuda.get_device_capability(queries.device) >= (8, 0)
    )


def _varlen(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """FlashAttention over uneven lengths: one launch for the whole batch, on a GPU in 16 bits."""
    from torch.nn.attention.varlen import varlen_attn  # a second to import, and of no use on a CPU

    inner = batch.bounds
    firsts = len(queries) != len(keys)
    outer = torch.arange(len(inner), device=inner.device, dtype=torch.int32) if firsts else inner
    most = 1 if firsts else batch.longest
    found = varlen_attn(queries, keys, values, outer, inner, most, batch.longest)
    assert isinstance(found, Tensor)
    return found


def _grouped(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """Inputs of one length together, group by group."""
    found = torch.empty_like(queries)
    heads, width = keys.shape[1:]
    short = queries.device.type == "cpu" and queries.dtype == torch.bfloat16 and attends_in_bf16()
    one_length = _in_bf16 if short else scaled_dot_product_attention
    token = query = 0
    for count, length in batch.groups:
        asked = 1 if len(queries) != len(keys) else length
        mine = slice(query, query + count * asked)
        theirs = slice(token, token + count * length)
        q = queries[mine].view(count, asked, heads, width).transpose(1, 2)
        k, v = (x[theirs].view(count, length, heads, width).transpose(1, 2) for x in (keys, values))
        out = found[mine].view(count, asked, heads, width)
        out.copy_(one_length(q, k, v).transpose(1, 2))
        token, query = theirs.stop, mine.stop
    return found


def _in_bf16(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """As `scaled_dot_product_attention`, on a CPU.

    Each shape of a product costs half a millisecond and a quarter of a megabyte once. So that few
    occur, there are 2^i inputs in each, and lengths are multiples of `LANES`.
    """
    powers = [1 << bit for bit in range(len(keys).bit_length()) if len(keys) >> bit & 1]
    pieces = zip(*(torch.split(x, powers) for x in (queries, keys, values)), strict=True)
    return torch.cat([_padded(*piece) for piece in pieces])


def _padded(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Two batched products in bf16; the softmax between them is compiled."""
    from pipelines.models.softmax import LANES, softmax_rows  # numba: see `attends_in_bf16`

    inputs, heads, length, width = keys.shape
    asked = queries.shape[2]
    q = _lengthened(queries, LANES if asked > 1 else 1)
    k, v = _lengthened(keys, LANES), _lengthened(values, LANES)
    weights = torch.bmm(q, k.transpose(1, 2))
    softmax_rows(weights.view(torch.uint16).flatten(0, 1).numpy(), length, width**-0.5)
    return torch.bmm(weights, v).view(inputs, heads, -1, width)[:, :, :asked]


def _lengthened(x: Tensor, unit: int) -> Tensor:
    """[n, heads, length, d] → [n · heads, a multiple of `unit`, d], with zeros behind."""
    return pad(x, (0, 0, 0, -x.shape[2] % unit)).flatten(0, 1)
