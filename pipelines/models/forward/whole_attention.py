"""Attention within whole inputs that stand one after another, by a rule: to what came before, to
neighbours, and of several heads to shared keys and values."""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.models.forward.attention import flashes
from shardrank.models.forward.attention_bf16 import as_words, attends_in_bf16, spread_heads
from shardrank.models.forward.attention_fp32 import Sight, attend_in_loops, attends_in_loops
from shardrank.models.forward.batch import Batch, LengthGroup
from shardrank.models.forward.branch_attention import Rule
from shardrank.models.forward.kept import Pair
from shardrank.models.forward.seen_attention import attend_to_seen

#: Tokens up to which all products of an input are made at once: 16 heads' take 128 MB then.
_LONG = 1 << 11


class WholePass:
    """One pass over a batch of inputs (protocol: Attending)."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @cached_property
    def ends(self) -> Tensor:
        """int64[b]: the last token of each input."""
        return self.batch.ends[1:] - 1

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """softmax(q·kᵀ · scale)·v of each head.

        Args:
            layer: whose they are.
            queries: [t, heads, d] of all tokens, or [b, heads, d] of the last ones only.
            new: keys and values [t, key heads, d] of all tokens.
            rule: of the layer.

        Returns:
            As queries.
        """
        if self.batch.seen is not None:
            return attend_to_seen(queries, *new, self.batch, _sight(rule), rule.scale)
        if flashes(queries):
            return _varlen(queries, new, self.batch, rule)
        short = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
        if short and attends_in_bf16() and self.batch.longest <= _LONG:
            return _blocks(queries, new, self.batch, rule)
        if attends_in_loops(queries):
            return attend_in_loops(queries, *new, self.batch, _sight(rule), rule.scale)
        return _grouped(queries, new, self.batch, rule)


def _sight(rule: Rule) -> Sight:
    near = None if rule.window is None else rule.window - 1
    return Sight(near, near if rule.both else 0, last=True)


def _varlen(queries: Tensor, new: Pair, batch: Batch, rule: Rule) -> Tensor:
    """FlashAttention over uneven lengths, on a GPU in 16 bits. Of a last token alone it is causal
    in any case: what is asked stands at the end of what is seen."""
    from torch.nn.attention.varlen import varlen_attn  # a second to import, and of no use on a CPU

    inner, lasts = batch.bounds, len(queries) != len(new[0])
    outer = torch.arange(len(inner), device=inner.device, dtype=torch.int32) if lasts else inner
    near = -1 if rule.window is None else rule.window - 1
    found = varlen_attn(
        queries,
        *new,
        outer,
        inner,
        1 if lasts else batch.longest,
        batch.longest,
        scale=rule.scale,
        window_size=(near, near if rule.both else 0),
        enable_gqa=True,
    )
    assert isinstance(found, Tensor)
    return found


def _blocks(queries: Tensor, new: Pair, batch: Batch, rule: Rule) -> Tensor:
    """In bf16 on a CPU: see attention_bf16.py. Heads that share keys are rows of one product."""
    from shardrank.kernels.attention_loops import gather  # numba: see `attends_in_bf16`

    heads, shared = queries.shape[1:], queries.shape[1] // new[0].shape[1]
    found = torch.empty(queries.shape, dtype=torch.bfloat16)
    lasts = len(queries) != len(new[0])
    for block in batch.blocks:
        k, v = (spread_heads(x.contiguous(), block) for x in new)
        q = queries[block.inputs] if lasts else spread_heads(queries.contiguous(), block)
        asked = 1 if lasts else block.length
        out = torch.bmm(_weights(q.reshape(len(k), shared * asked, -1), k, block, asked, rule), v)
        if lasts:
            found[block.inputs] = out.view(-1, *heads)
        else:
            rows = out.view(len(block.sizes), heads[0], asked, heads[1])
            gather(as_words(rows), block.begins, block.sizes, as_words(found))
    return found


def _weights(queries: Tensor, keys: Tensor, block: LengthGroup, asked: int, rule: Rule) -> Tensor:
    """bf16[inputs · key heads, shared · asked, length]: what each query takes of each token."""
    from shardrank.kernels.attention_loops import softmax_spans  # numba: see `attends_in_bf16`

    found = torch.bmm(queries, keys.transpose(1, 2))
    rows = found.view(torch.uint16).flatten(0, 1).numpy()
    near = block.length if rule.window is None else rule.window - 1
    each = len(rows) // len(block.sizes)
    softmax_spans(rows, block.sizes, each, asked, near, near if rule.both else 0, rule.scale)
    return found


def _grouped(queries: Tensor, new: Pair, batch: Batch, rule: Rule) -> Tensor:
    """Inputs of one length together, group by group."""
    found = torch.empty_like(queries, memory_format=torch.contiguous_format)
    lasts = len(queries) != len(new[0])
    token = query = 0
    for count, length in batch.groups:
        asked = 1 if lasts else length
        mine = slice(query, query + count * asked)
        theirs = slice(token, token + count * length)
        q = queries[mine].view(count, asked, *queries.shape[1:]).transpose(1, 2)
        k, v = (x[theirs].view(count, length, *x.shape[1:]).transpose(1, 2) for x in new)
        out = found[mine].view(count, asked, *found.shape[1:])
        out.copy_(_group(q, k, v, rule).transpose(1, 2))
        token, query = theirs.stop, mine.stop
    return found


def _group(queries: Tensor, keys: Tensor, values: Tensor, rule: Rule) -> Tensor:
    """Inputs of one length: [n, heads, asked, d] of all tokens, or of the last one."""
    asked, length = queries.shape[2], keys.shape[2]
    narrow = rule.window is not None and length > rule.window
    mask = _mask(asked, length, rule, keys.device) if narrow else None
    ahead = mask is None and not rule.both and asked > 1
    return scaled_dot_product_attention(
        queries, keys, values, mask, is_causal=ahead, scale=rule.scale, enable_gqa=True
    )


def _mask(asked: int, length: int, rule: Rule, device: torch.device) -> Tensor:
    """bool[asked, length]: whether the last tokens attend to each."""
    assert rule.window is not None
    places = torch.arange(length - asked, length, device=device)[:, None]
    behind = places - torch.arange(length, device=device)
    least = -rule.window + 1 if rule.both else 0
    return (behind >= least) & (behind < rule.window)
