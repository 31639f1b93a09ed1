"""Attention to near tokens only: |i - j| ≤ reach, as in ModernBERT's local layers (Beltagy et al.
2020, Longformer, arXiv:2004.05150).

Inputs that are longer than a token's reach are cut into pieces of neighbouring queries. Each takes
the keys that any of its queries may see, so that the cost grows with an input's length, not with
its square.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from shardrank.core.arrays import Int64
from shardrank.models.forward.attention import attend, flashes
from shardrank.models.forward.attention_bf16 import as_words, spread_heads
from shardrank.models.forward.attention_fp32 import Sight, attend_in_loops, attends_in_loops
from shardrank.models.forward.batch import Batch, LengthGroup, send
from shardrank.models.forward.fused import is_short
from shardrank.models.forward.seen_attention import attend_to_seen

#: What the lengths of pieces are multiples of: numbers in a vector register of 512 bits.
_LANES = 16


@dataclass(frozen=True, eq=False)
class Pieces:
    """Neighbouring tokens of inputs, and what each of them may see.

    Attributes:
        begins, sizes: int64[n] on the CPU, the first token of each piece, and how many it has.
        seen_begins, seen_sizes: int64[n], the tokens that any of them sees, likewise.
        length, seen_length: the most of each, multiples of 16.
    """

    begins: Int64
    sizes: Int64
    seen_begins: Int64
    seen_sizes: Int64
    length: int
    seen_length: int

    @classmethod
    def of(cls, sizes: Int64, reach: int) -> "Pieces":
        """Of inputs that stand one after another."""
        length = _rounded(reach)
        counts = -(-sizes // length)
        ends = np.cumsum(sizes).repeat(counts)
        firsts = ends - sizes.repeat(counts)
        numbers = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
        begins = firsts + numbers * length
        seen = np.maximum(begins - reach, firsts)
        stops = np.minimum(begins + length, ends)
        seen_sizes = np.minimum(stops + reach, ends) - seen
        return cls(begins, stops - begins, seen, seen_sizes, length, _rounded(length + 2 * reach))

    def groups(self) -> Iterator[tuple[LengthGroup, LengthGroup]]:
        """Runs of 2^i pieces, and what they see: few shapes of products, as in `Batch.blocks`."""
        first, end = 0, len(self.begins)
        while first < end:
            mine = slice(first, first + (1 << (end - first).bit_length() - 1))
            yield (
                LengthGroup(mine, self.begins[mine], self.sizes[mine], self.length),
                LengthGroup(mine, self.seen_begins[mine], self.seen_sizes[mine], self.seen_length),
            )
            first = mine.stop


@dataclass(frozen=True, eq=False)
class Near:
    """A batch, whose tokens attend within a reach."""

    batch: Batch
    reach: int

    @cached_property
    def pieces(self) -> Pieces:
        """Of the inputs longer than a token's reach, which come first."""
        return Pieces.of(self.batch.sizes[: self._long], self.reach)

    @cached_property
    def begin(self) -> int:
        """The first token of the others."""
        return int(self.batch.sizes[: self._long].sum())

    @cached_property
    def short(self) -> Batch:
        """The others, of which each token sees all of its input."""
        batch, long = self.batch, self._long
        return Batch(batch.rows[long:], batch.sizes[long:], batch.ids[self.begin :], None)

    @cached_property
    def around_first(self) -> tuple[Tensor, Batch]:
        """int64[n], the tokens that the first ones of inputs see, and they as a batch."""
        batch = self.batch
        sizes = np.minimum(batch.sizes, self.reach + 1)
        skipped = (np.cumsum(batch.sizes - sizes) - (batch.sizes - sizes)).repeat(sizes)
        tokens = send(np.arange(len(skipped)) + skipped, batch.ids.device)
        return tokens, Batch(batch.rows, sizes, batch.ids[tokens], None)

    @cached_property
    def asked(self) -> Tensor:
        """int64[n, q]: the tokens of each piece; what stands behind them is any."""
        return self._tokens(self.pieces.begins, self.pieces.length)

    @cached_property
    def seen(self) -> Tensor:
        """int64[n, k], likewise of the tokens that they see."""
        return self._tokens(self.pieces.seen_begins, self.pieces.seen_length)

    @cached_property
    def mask(self) -> Tensor:
        """bool[n, 1, q, k]: which tokens a token attends to."""
        pieces = self.pieces
        places = send(pieces.seen_begins[:, None] + np.arange(pieces.seen_length), self._device)
        own = send(pieces.begins[:, None] + np.arange(pieces.length), self._device)
        ends = send(pieces.seen_begins + pieces.seen_sizes, self._device)
        apart = (own[:, :, None] - places[:, None, :]).abs()
        return ((apart <= self.reach) & (places < ends[:, None])[:, None, :])[:, None]

    @cached_property
    def cells(self) -> Tensor:
        """int64[t]: where each token of the longer inputs stands among those of the pieces."""
        pieces = self.pieces
        rows = np.arange(len(pieces.sizes)) * pieces.length
        skipped = rows - (np.cumsum(pieces.sizes) - pieces.sizes)
        return send(np.arange(self.begin) + skipped.repeat(pieces.sizes), self._device)

    @property
    def _long(self) -> int:
        return int((self.batch.sizes > self.reach + 1).sum())

    @property
    def _device(self) -> torch.device:
        return self.batch.ids.device

    def _tokens(self, begins: Int64, length: int) -> Tensor:
        found = np.minimum(begins[:, None] + np.arange(length), self.begin - 1)
        return send(found, self._device)


def attend_near(queries: Tensor, keys: Tensor, values: Tensor, near: Near) -> Tensor:
    """softmax(q·kᵀ/√d)·v of each head, each token among those of its own input within its reach.

    Args:
        queries, keys, values: [t, heads, d] of all tokens.
        near: where inputs begin and end, and how far a token sees.

    Returns:
        [t, heads · d].
    """
    sight = Sight(near.reach, near.reach)
    if near.batch.seen is not None:
        return attend_to_seen(queries, keys, values, near.batch, sight).flatten(1)
    if flashes(queries):
        return _varlen(queries, keys, values, near).flatten(1)
    if attends_in_loops(queries):
        return attend_in_loops(queries, keys, values, near.batch, sight).flatten(1)
    begin = near.begin
    if begin == 0:
        return attend(queries, keys, values, near.batch)
    way = _in_bf16 if is_short(queries) else _masked
    long = way(queries[:begin], keys[:begin], values[:begin], near).flatten(1)
    if begin == len(queries):
        return long
    return torch.cat([long, attend(queries[begin:], keys[begin:], values[begin:], near.short)])


def _varlen(queries: Tensor, keys: Tensor, values: Tensor, near: Near) -> Tensor:
    """FlashAttention over uneven lengths, as in attention.py."""
    from torch.nn.attention.varlen import varlen_attn  # a second to import, and of no use on a CPU

    bounds, most, window = near.batch.bounds, near.batch.longest, (near.reach, near.reach)
    found = varlen_attn(queries, keys, values, bounds, bounds, most, most, window_size=window)
    assert isinstance(found, Tensor)
    return found


def _masked(queries: Tensor, keys: Tensor, values: Tensor, near: Near) -> Tensor:
    """All pieces at once."""
    q = queries[near.asked].transpose(1, 2)
    k, v = (x[near.seen].transpose(1, 2) for x in (keys, values))
    found = scaled_dot_product_attention(q, k, v, attn_mask=near.mask)
    return found.transpose(1, 2).flatten(0, 1)[near.cells]


def _in_bf16(queries: Tensor, keys: Tensor, values: Tensor, near: Near) -> Tensor:
    """As attention_bf16.py: two batched products around a softmax of our own."""
    from shardrank.kernels.attention_loops import gather  # numba: see `attends_in_bf16`
    from shardrank.kernels.near_loops import softmax_near

    found, heads = torch.empty_like(queries, memory_format=torch.contiguous_format), keys.shape[1]
    for asked, seen in near.pieces.groups():
        q, k, v = (spread_heads(x, g) for x, g in ((queries, asked), (keys, seen), (values, seen)))
        weights = torch.bmm(q, k.transpose(1, 2))
        rows = weights.view(torch.uint16).view(-1, heads, asked.length, seen.length).numpy()
        places = asked.begins - seen.begins
        softmax_near(rows, asked.sizes, seen.sizes, places, near.reach, q.shape[2] ** -0.5)
        out = torch.bmm(weights, v).view(-1, heads, asked.length, q.shape[2])
        gather(as_words(out), asked.begins, asked.sizes, as_words(found))
    return found


def _rounded(length: int) -> int:
    return max(length + -length % _LANES, _LANES)
