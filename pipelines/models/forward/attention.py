"""Attention within inputs that stand one after another (Vaswani et al. 2017, arXiv:1706.03762)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.models.forward.attention_bf16 import attend_in_bf16, attends_in_bf16
from shardrank.models.forward.attention_fp32 import attend_in_loops, attends_in_loops
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.seen_attention import attend_to_seen

#: A way to attend: see `attend`.
Attend = Callable[[Tensor, Tensor, Tensor, Batch], Tensor]


def attend(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """softmax(q·kᵀ/√d)·v of each head, each token among those of its own input.

    Args:
        queries: [t, heads, d] of all tokens, or [b, heads, d] of the first ones only.
        keys, values: [t, heads, d] of all tokens.
        batch: where inputs begin and end.

    Returns:
        As queries, with the heads side by side: [t or b, heads · d].
    """
    if batch.seen is not None:
        return attend_to_seen(queries, keys, values, batch).flatten(1)
    return _way(queries)(queries, keys, values, batch).flatten(1)


def _way(queries: Tensor) -> Attend:
    if flashes(queries):
        return _varlen
    if attends_in_loops(queries):
        return attend_in_loops
    short = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    return attend_in_bf16 if short and attends_in_bf16() else _grouped


def flashes(queries: Tensor) -> bool:
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
    token = query = 0
    for count, length in batch.groups:
        asked = 1 if len(queries) != len(keys) else length
        mine = slice(query, query + count * asked)
        theirs = slice(token, token + count * length)
        q = queries[mine].view(count, asked, heads, width).transpose(1, 2)
        k, v = (x[theirs].view(count, length, heads, width).transpose(1, 2) for x in (keys, values))
        out = found[mine].view(count, asked, heads, width)
        out.copy_(scaled_dot_product_attention(q, k, v).transpose(1, 2))
        token, query = theirs.stop, mine.stop
    return found
