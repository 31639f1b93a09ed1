"""Attention of branches: each token to the stem, and to those before it in its own branch."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.models.forward.attention import flashes
from shardrank.models.forward.attention_fp32 import (
    Sight,
    attend_behind_stem,
    attend_last,
    attends_in_loops,
)
from shardrank.models.forward.branches import Branches
from shardrank.models.forward.kept import Pair

#: Up to how many tokens masks are cut from a table, which takes 4 MB then.
_TABLE = 1 << 10


@dataclass(frozen=True, eq=False)
class Rule:
    """How a layer attends.

    Attributes:
        scale: of the inner products.
        window: how many tokens one attends to, itself among them; none: all.
        cap: c of c · tanh(x / c), which products go through; none: they do not.
        sinks: [heads], a product of a token that has no value; none: there is no such.
        both: whether a token attends to those behind it, too, as many as before it; branches know
            nothing of it.
    """

    scale: float
    window: int | None = None
    cap: float | None = None
    sinks: Tensor | None = None
    both: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is a softmax of the products."""
        return self.cap is None and self.sinks is None


def attend_branches(
    queries: Tensor, new: Pair, before: Pair, branches: Branches, rule: Rule
) -> Tensor:
    """softmax(q·kᵀ · scale)·v of each head.

    Args:
        queries: [t, heads, d] of the branches' tokens.
        new: keys and values [t, key heads, d] of the branches' tokens.
        before: those of the stem, [stem, key heads, d].
        branches: where each begins and ends.
        rule: of the layer.

    Returns:
        [t, heads, d].
    """
    if rule.plain and flashes(queries):
        return _varlen(queries, new, before, branches, rule)
    if rule.plain and attends_in_loops(queries):
        return attend_behind_stem(queries, new, before, branches.sizes, _sight(rule), rule.scale)
    found = torch.empty(
        (*queries.shape[:2], new[1].shape[2]), dtype=queries.dtype, device=queries.device
    )
    begin = 0
    for count, length in branches.groups:
        mine = slice(begin, begin + count * length)
        keys, values = (
            _behind(stem, x[mine].view(count, length, *x.shape[1:]))
            for stem, x in zip(before, new, strict=True)
        )
        asking = queries[mine].view(count, length, *queries.shape[1:]).transpose(1, 2)
        out = _group(asking, keys, values, rule).transpose(1, 2)
        found[mine].view(count, length, *found.shape[1:]).copy_(out)
        begin = mine.stop
    return found


def attend_run(queries: Tensor, seen: Pair, rule: Rule) -> Tensor:
    """As `attend_branches`, of the last tokens of one run: queries [t, heads, d], and keys and
    values [n, key heads, d] of all its tokens."""
    if rule.plain and attends_in_loops(queries):
        return attend_last(queries, *seen, _sight(rule), rule.scale)
    asking, keys, values = (x.transpose(0, 1)[None] for x in (queries, *seen))
    return _group(asking, keys, values, rule)[0].transpose(0, 1)


def _sight(rule: Rule) -> Sight:
    return Sight(None if rule.window is None else rule.window - 1, 0)


def weights(queries: Tensor, keys: Tensor, first: int, rule: Rule) -> Tensor:
    """float32[heads, q, k], what each query takes of each key: softmax of the products.

    Args:
        queries: [q, heads, d] of neighbouring tokens.
        keys: [k, key heads, d] of all tokens of their input.
        first: the place of the first query.
        rule: of the layer.
    """
    shared = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
    found = torch.einsum("qhd,khd->hqk", queries, shared).float() * rule.scale
    places = torch.arange(first, first + len(queries), device=keys.device)
    return softmax_of(found, _seen(places, len(keys), rule.window), rule)


def _varlen(queries: Tensor, new: Pair, before: Pair, branches: Branches, rule: Rule) -> Tensor:
    """FlashAttention over uneven lengths, each branch with the stem's keys before its own."""
    from torch.nn.attention.varlen import varlen_attn  # a second to import, and of no use on a CPU

    keys, values = new
    if branches.stem:
        keys, values = (
            torch.cat([stem, x])[branches.with_stem] for stem, x in zip(before, new, strict=True)
        )
    inner, outer = branches.bounds
    longest = int(branches.sizes[0])
    found = varlen_attn(
        queries,
        keys,
        values,
        inner,
        outer,
        longest,
        longest + branches.stem,
        scale=rule.scale,
        window_size=(-1 if rule.window is None else rule.window - 1, 0),
        enable_gqa=True,
    )
    assert isinstance(found, Tensor)
    return found


def _behind(stem: Tensor, own: Tensor) -> Tensor:
    """[stem, heads, d] before each of [n, length, heads, d] → [n, heads, stem + length, d]."""
    if len(stem):
        own = torch.cat([stem.expand(len(own), *stem.shape), own], dim=1)
    return own.transpose(1, 2)


def _group(queries: Tensor, keys: Tensor, values: Tensor, rule: Rule) -> Tensor:
    """Branches of one length: queries [n, heads, q, d], keys and values [n, key heads, k, d]."""
    asked, seen = queries.shape[2], keys.shape[2]
    every = rule.window is None or seen <= rule.window
    if rule.plain and every and (asked == seen or asked == 1):
        return scaled_dot_product_attention(
            queries, keys, values, is_causal=asked > 1, scale=rule.scale, enable_gqa=True
        )
    if rule.plain:
        mask = _added(asked, seen, rule.window, queries)
        return scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=rule.scale, enable_gqa=True
        )
    mask = _seen(torch.arange(seen - asked, seen, device=keys.device), seen, rule.window)
    shared = queries.shape[1] // keys.shape[1]
    keys, values = (x.repeat_interleave(shared, 1) for x in (keys, values))
    products = (queries @ keys.transpose(2, 3)).float() * rule.scale
    return softmax_of(products, mask, rule).to(values.dtype) @ values


def _added(asked: int, seen: int, window: int | None, like: Tensor) -> Tensor:
    """[asked, seen], what is added to the products of the last tokens asked of those seen."""
    if seen <= _TABLE:
        return _table(window, like.dtype, like.device)[seen - asked : seen, :seen]
    return _rows(asked, seen, window, like.dtype, like.device)


@lru_cache(maxsize=8)
def _table(window: int | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    """All rows up to a length, once for all layers and passes."""
    return _rows(_TABLE, _TABLE, window, dtype, device)


def _rows(
    asked: int, seen: int, window: int | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    mask = _seen(torch.arange(seen - asked, seen, device=device), seen, window)
    return torch.zeros(asked, seen, dtype=dtype, device=device).masked_fill_(~mask, -torch.inf)


def _seen(places: Tensor, keys: int, window: int | None) -> Tensor:
    """bool[q, k]: whether the token at a place attends to a key."""
    behind = places[:, None] - torch.arange(keys, device=places.device)
    return behind >= 0 if window is None else (behind >= 0) & (behind < window)


def softmax_of(products: Tensor, mask: Tensor, rule: Rule) -> Tensor:
    """[…, heads, q, k] products to weights, where a mask of that shape has what is seen."""
    if rule.cap is not None:
        products = (products / rule.cap).tanh() * rule.cap
    products = products.masked_fill(~mask, -torch.inf)
    if rule.sinks is None:
        return products.softmax(-1)
    sinks = rule.sinks.float()[:, None, None].expand(*products.shape[:-1], 1)
    return torch.cat([products, sinks], -1).softmax(-1)[..., :-1]
