"""Which pairs of a query and a row of a part are worth scoring, and their scores.

Products of 8-bit rows come first, with a bound of what they may be wrong by (`bound_loops.py`). So
what is found is what exact scores of all pairs would find, bit by bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int64
from shardrank.core.protocols import Int8Product
from shardrank.index.blocks import PartBlock
from shardrank.index.device_pairs import DeviceCandidates
from shardrank.index.pairs import pair_scores
from shardrank.kernels.bound_loops import (
    Asked,
    Least,
    Near,
    Owners,
    Vectors,
    collect_near,
    gather_near,
    score_near,
)
from shardrank.kernels.instructions import STRIDE
from shardrank.kernels.rounding_loops import Rounded, round_bounded
from shardrank.kernels.score_loops import summation

#: Bytes of the buffers in which a block of queries gathers what it finds, and of a hit in them.
_BUFFER_BYTES, _HIT_BYTES = 64 << 20, 12

#: Bytes of products that are made and looked through at once: they stay in the cache.
_PRODUCT_BYTES = 1 << 20

#: Queries that are looked for at once: more make products no faster.
_QUERIES = 512

#: Room of a query for each document wanted, and beyond.
_ROOM, _SLACK = 8, 256

#: Planes between which components are mixed; see `shardrank.models.forward.int8`.
_PLANES = 16

#: Unit roundoff of float32.
_UNIT = 2.0**-24

#: A little more than the roundings of a few operations in float32.
_MORE = 1 + 8 * _UNIT


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of a query and a row of a part, ascending, with their scores.

    Attributes:
        queries: int64[m].
        rows: int64[m].
        scores: float32[m], as `pair_scores` gives them.
    """

    queries: Int64
    rows: Int64
    scores: Float32


#: Finds pairs that hold each query's k best documents of a part, and few others, as `near_pairs`
#: does: (queries, part, k, floor).
Find = Callable[[Float32, PartBlock, int, Float32], Iterator[NearPairs]]


def by_products(product: Int8Product) -> Find:
    """By products of 8-bit matrices on this CPU."""
    return partial(near_pairs, product=product)


def by_device(candidates: DeviceCandidates) -> Find:
    """By float32 products of another device, scored here."""

    def find(queries: Float32, part: PartBlock, k: int, floor: Float32) -> Iterator[NearPairs]:
        for query, row in candidates(queries, part, part.starts, k, floor):
            yield NearPairs(query, row, pair_scores(queries, query, part.vectors, row))

    return find


@dataclass(frozen=True, eq=False)
class _RoundedPart:
    """A part's live rows in 8 bits.

    Attributes:
        rows: they, and zeros up to whole strides.
        owners: of the live rows.
        vectors: float32[n · d], flat, with what is not live.
        places: int64[n], where the live ones are.
    """

    rows: Rounded
    owners: Owners
    vectors: Float32
    places: Int64

    @classmethod
    def of(cls, part: PartBlock) -> "_RoundedPart":
        places = np.flatnonzero(part.live)
        lengths = np.diff(np.append(part.starts, part.rows))
        own = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        flat = np.ascontiguousarray(part.vectors).reshape(-1)
        owners = Owners(own[places], len(np.unique(own[places])) == len(places))
        return cls(_rounded(part.vectors, places, STRIDE), owners, flat, places)


def near_pairs(
    queries: Float32, part: PartBlock, k: int, floor: Float32, product: Int8Product
) -> Iterator[NearPairs]:
    """Pairs that hold each query's k best documents of a part, and few others.

    All passages are there that score no less than the k-th best document does, but for those under
    the floor.

    Args:
        queries: float32[Q, d], finite.
        part: the part.
        k: documents wanted.
        floor: float32[Q], scores under which a query wants none.
        product: of 8-bit matrices.

    Yields:
        Only live rows; a block of queries at a time, since all rows are near where all vectors are
        equal.
    """
    if not part.live.any():
        return
    rounded = _RoundedPart.of(part)
    room = min(_ROOM * k + _SLACK, len(rounded.places)) + STRIDE
    yield from _Search(queries, floor, rounded, product, k).pairs(0, len(queries), room)


@dataclass(frozen=True, eq=False)
class _Search:
    """What queries float32[Q, d], with floors float32[Q], look for in a part."""

    queries: Float32
    floor: Float32
    part: _RoundedPart
    product: Int8Product
    k: int

    def pairs(self, begin: int, end: int, room: int) -> Iterator[NearPairs]:
        """Those of queries `begin` to `end`, each with room for so many rows; where that is too
        little, those of fewer queries at a time with more room."""
        height = min(_QUERIES, max(1, _BUFFER_BYTES // (_HIT_BYTES * room)))
        for first in range(begin, end, height):
            last = min(first + height, end)
            found = self._block(slice(first, last), room)
            if found is None:
                yield from self.pairs(first, last, 2 * room)
            else:
                yield NearPairs(found.queries + first, found.rows, found.scores)

    def _block(self, block: slice, room: int) -> NearPairs | None:
        """None: there was too little room."""
        queries = np.ascontiguousarray(self.queries[block])
        count, dim = queries.shape
        small = _rounded(queries, np.arange(count), 1)
        least = _least(self.floor[block], small.scales, dim)
        asked, near = _asked(small, least, dim), _near(count, room)
        rows, owners = self.part.rows, self.part.owners
        width = max(1, _PRODUCT_BYTES // (4 * STRIDE * count)) * STRIDE
        for begin in range(0, len(rows.small), width):
            products = self.product(small.small, rows.small[begin : begin + width])
            if not collect_near(products, begin, rows, owners, asked, near, self.k):
                return None
        places = self.part.places
        vectors = Vectors(queries.reshape(-1), self.part.vectors, places, summation(dim))
        score_near(vectors, owners, asked, near, least, self.k)
        return _gathered(near, places)


def _rounded(vectors: Float32, rows: Int64, stride: int) -> Rounded:
    """These rows of float32[m, d], and zeros up to whole strides.

    The slack is for the roundings of a pair's score, |fl(x·y) - x·y| ≤ γ(d)·|x|·|y|,
    γ(d) = du/(1 - du) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and
    for those of mixing and of comparing.
    """
    dim = vectors.shape[1]
    count = -(-len(rows) // stride) * stride
    scales, errors, lengths = (np.zeros(count, np.float32) for _ in range(3))
    made = Rounded(np.zeros((count, dim), np.int8), scales, errors, lengths)
    gamma = dim * _UNIT / (1 - dim * _UNIT)
    round_bounded(vectors, rows, dim // _planes(dim), 1.01 * gamma + 16 * _UNIT, made)
    return made


def _planes(dim: int) -> int:
    """The largest power of two, up to _PLANES, that divides the dimension."""
    return min(_PLANES, dim & -dim)


def _least(floor: Float32, scales: Float32, dim: int) -> Least:
    """A mixed product is as many times its score as there are planes."""
    factors: Float64 = _planes(dim) / _divisors(scales)
    return Least(np.ascontiguousarray(floor), factors)


def _divisors(scales: Float32) -> Float64:
    """float64[q]: the scales of queries, and 1 where a query is not rounded."""
    return np.where(scales > 0, scales, 1).astype(np.float64)


def _asked(small: Rounded, least: Least, dim: int) -> Asked:
    """What queries ask, in units of their scales."""
    scales = _divisors(small.scales)
    norms = (small.lengths.astype(np.float64) + small.errors) / scales * _MORE
    shares = (least.factors * dim * 2.0**-147 + 2.0**-125).astype(np.float32)
    exact = least.scores * least.factors
    exact -= np.abs(exact) * (_MORE - 1)
    with np.errstate(over="ignore"):  # what is infinite wants none, and gets what is infinite
        floors = np.minimum(exact, np.finfo(np.float32).max).astype(np.float32)
    errors = (small.errors / scales * _MORE).astype(np.float32)
    return Asked(norms.astype(np.float32), errors, floors - shares, shares)


def _near(queries: int, room: int) -> Near:
    shape = queries, room
    lows, highs = np.empty(shape, np.float32), np.empty(shape, np.float32)
    return Near(np.empty(shape, np.int32), lows, highs, np.zeros(queries, np.int32))


def _gathered(near: Near, places: Int64) -> NearPairs:
    count = int(near.counts.sum(dtype=np.int64))
    found = NearPairs(
        np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.float32)
    )
    gather_near(near, places, found.queries, found.rows, found.scores)
    return found
