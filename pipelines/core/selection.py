"""What search asks of a device: to multiply matrices, and to keep what is large.

A device only selects. Sums of 8-bit numbers are exact and hits have a total order, so all keep the
same; of float32 products a device yields what may be large enough, and `pair_scores` scores it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shardrank.core.arrays import Bool, Float32, Int8, Int32, Int64


class BestRows(Protocol):
    """The best rows so far of each of Q queries, as many as are wanted."""

    def add(self, asking: Int32, rows: Int8, positions: Int64) -> None:
        """Compare rows int8[n, d], at positions int64[n] < 2^31, with the queries int32[q], none of
        which is named twice."""

    def sorted(self) -> Int64:
        """Positions int64[Q, depth] by descending inner product, the lower position first of equal
        ones, padded with -1; more may be added afterwards."""


class RowSelector(Protocol):
    """Multiplies queries and rows of 8-bit numbers, and keeps each query's best rows."""

    @property
    def cells(self) -> int:
        """Products that are made and looked through at once."""

    def begin(self, queries: Int8, depth: int) -> BestRows:
        """The best `depth` rows of each of the queries int8[Q, d], of none so far."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Which rows of a part are too low to be wanted.

    Attributes:
        groups: int64[g], where disjoint groups of rows begin, the first at 0: the k-th largest of
            their maxima is a lower bound of the k-th best.
        k: as above; where there are fewer groups, they bound nothing.
        floor: float32[Q], a lower bound that is known before.
        margin: float32[Q], by which the higher bound is lowered: what float32 products may err by.
    """

    groups: Int64
    k: int
    floor: Float32
    margin: Float32


class PairSelector(Protocol):
    """Multiplies float32 matrices, in float32 and in any order of summation, and selects."""

    def __call__(
        self, queries: Float32, vectors: Float32, live: Bool, bounds: Bounds
    ) -> Iterator[tuple[Int64, Int64]]:
        """Pairs of queries float32[Q, d] and rows of float32[n, d] that are not below the bound.

        Yields:
            query int64[m] and row int64[m], ascending by (query, row), only rows that are `live`
            bool[n]; a block of queries at a time.
        """
