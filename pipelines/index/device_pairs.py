"""Exact search's candidates, chosen on another device than this CPU."""

from collections.abc import Iterator

from shardrank.core.arrays import Float32, Int64
from shardrank.core.selection import Bounds, PairSelector
from shardrank.index.blocks import PartBlock
from shardrank.index.pairs import group_starts, margin


class DeviceCandidates:
    """As `pairs.candidates`, by float32 products of a device: their error has the same bound, which
    holds for any order of summation."""

    def __init__(self, select: PairSelector) -> None:
        self._select = select

    def __call__(
        self, queries: Float32, part: PartBlock, starts: Int64, k: int, floor: Float32
    ) -> Iterator[tuple[Int64, Int64]]:
        bounds = Bounds(group_starts(starts, k), k, floor, margin(queries, part))
        return self._select(queries, part.vectors, part.live, bounds)
