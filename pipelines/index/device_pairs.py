"""Exact search's candidates, chosen on another device than this CPU."""

from collections.abc import Iterator

import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.selection import Bounds, PairSelector
from shardrank.index.blocks import PartBlock

#: Groups of documents for each result wanted: more make the threshold tighter and dearer.
_GROUPS_PER_RESULT = 8

#: Unit roundoff of float32.
_UNIT = 2.0**-24


class DeviceCandidates:
    """Pairs that hold each query's k best segments of a part, and few others, by float32 products.

    A segment is a run of rows that counts once: a document, or a single row. The k-th largest of
    the maxima of disjoint groups of segments is a lower bound of the k-th best segment's score,
    so rows under it can go. Products err, in whatever order a device adds them up, so the bound is
    lowered by the largest error that they and `pair_scores` can make: |fl(x·y) - x·y| ≤
    γ(d)·|x|·|y|, γ(d) = du/(1 - du) (Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1).
    """

    def __init__(self, select: PairSelector) -> None:
        self._select = select

    def __call__(
        self, queries: Float32, part: PartBlock, starts: Int64, k: int, floor: Float32
    ) -> Iterator[tuple[Int64, Int64]]:
        """Of float32[Q, d], segments that start at int64[s], and floors float32[Q] under which a
        query wants none. Yields as `PairSelector` does."""
        groups = starts[:: max(1, len(starts) // (_GROUPS_PER_RESULT * k))]
        bounds = Bounds(groups, k, floor, margin(queries, part))
        return self._select(queries, part.vectors, part.live, bounds)


def margin(queries: Float32, part: PartBlock) -> Float32:
    """float32[Q]: twice the largest difference between a matrix product and `pair_scores`."""
    terms = queries.shape[1] * _UNIT
    gamma = terms / (1 - terms)
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    # The last term covers what underflows, the factor the roundings of the bound itself.
    least = terms * np.finfo(np.float32).tiny / _UNIT
    twice: Float32 = (4.01 * gamma * norms * _longest(part) + least).astype(np.float32)
    return twice


def _longest(part: PartBlock) -> float:
    """The largest L2 norm of a live vector."""
    norms = np.sqrt(np.einsum("ij,ij->i", part.vectors, part.vectors))
    return float(norms.max(where=part.live, initial=0.0))
