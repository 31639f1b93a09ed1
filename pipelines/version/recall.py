"""The audit's arithmetic: which search settings reach a recall, at what cost.

Recall@k here compares with exact search over documents: the share of a query's k nearest documents,
each by its best passage, that are among the k that a search gives. A search scores every passage
that it refines exactly, but may know a document by another passage than its best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.version.indexes import AuditPoint

#: Centroids that are probed for a question's token, at most, that are tried.
_MOST_CENTROIDS = 64

#: The score of a document that is not found.
NOWHERE = -np.inf


@dataclass(frozen=True)
class Grid:
    """The efforts that are tried: every nprobe with every depth, both ascending."""

    nprobes: tuple[int, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, nlist: int, k: int, max_depth: int) -> "Grid":
        return cls(tuple(probe_grid(nlist)), tuple(depth_grid(k, max_depth)))

    @classmethod
    def of_tokens(cls, centroids: int, k: int, max_depth: int) -> "Grid":
        """Of late interaction, each of whose many tokens probes few of many centroids."""
        return cls.of(min(centroids, _MOST_CENTROIDS), k, max_depth)


@dataclass(frozen=True, eq=False)
class Probe:
    """The exact nearest documents of Q queries, and by what score searches find them.

    Attributes:
        scores: float32[Q, n], descending; -inf where there are fewer than n.
        found: float32[Q, n, G, D], the exact score of the best of the document's passages that a
            search refines, at each of G values of nprobe and D depths; -inf: of none.
        hits: int64[G, D], passages refined for all queries.
    """

    scores: Float32
    found: Float32
    hits: Int64


#: An exact score, and the sorting of its hit, take as long as so many 8-bit multiply-adds: 1.1 µs
#: at 35 billion a second (one core of a Zen 4, 2026-11-21).
REFINED_PRODUCTS = 40_000


@dataclass(frozen=True)
class CostModel:
    """What one query makes a search compute, over all shards, in 8-bit multiply-adds.

    A shard's lists are taken as equally long. Comparing with the coarse centroids costs the same
    for every choice, so it is left out.
    """

    passages: int
    nlist: int
    dim: int

    def products(self, nprobe: int, hits: float) -> float:
        """Rows scanned × components + hits refined × what each takes."""
        scanned = self.passages * min(nprobe, self.nlist) / self.nlist
        return scanned * self.dim + hits * REFINED_PRODUCTS


#: Of late interaction: tokens of a question and of a passage, about.
_ASKED, _HELD = 32, 64
#: In 8-bit multiply-adds (docs/measured-retrieval.md, "Late retrieval"): a place among the nearest
#: centroids of a token; a candidate's centroid, compared for all tokens of a question; and a
#: product of float32 with what is decoded for it, where no two questions share that.
_PLACED, _MET, _DECODED = 15_000, 46, 1.5


@dataclass(frozen=True)
class TokenCosts:
    """As `CostModel`, of a search by centroids of token vectors of `dim` components, of which the
    lists of `nlist` are taken as equally long and independent of each other."""

    passages: int
    nlist: int
    dim: int

    def products(self, nprobe: int, hits: float) -> float:
        """Centroids probed, candidates × their tokens, and hits decoded and compared."""
        candidates = self.passages * self.met(nprobe)
        compared = _HELD * (candidates * _MET + hits * _ASKED * self.dim * _DECODED)
        return _ASKED * min(nprobe, self.nlist) * _PLACED + compared

    def met(self, nprobe: int) -> float:
        """The share of the passages that are candidates."""
        return -math.expm1(-_ASKED * min(nprobe, self.nlist) * _HELD / self.nlist)


class Costs(Protocol):
    """What one query makes a search compute, in 8-bit multiply-adds."""

    def products(self, nprobe: int, hits: float) -> float:
        """With so many lists probed, and passages refined."""


def followed(k: int) -> int:
    """How many of the nearest documents are followed, so that it is known which take the places of
    those of the first k that a search does not find: twice as many."""
    return 2 * k


def probe_grid(nlist: int) -> list[int]:
    """The values of nprobe that the audit tries: powers of two, and nlist itself."""
    return [*(1 << i for i in range(nlist.bit_length()) if 1 << i < nlist), nlist]


def depth_grid(k: int, max_depth: int) -> list[int]:
    """The depths of refinement that the audit tries: k·1, k·2, k·4, …, and max_depth itself.

    Args:
        k: documents that recall counts.
        max_depth: at least k, as AuditSettings sees to.
    """
    doublings = (max_depth // k).bit_length()
    return [*(k << i for i in range(doublings) if k << i < max_depth), max_depth]


def merge_probes(one: Probe, other: Probe, n: int) -> Probe:
    """The n nearest of both shards' documents; on ties the first shard's, so the order matters.

    Args:
        one, other: for the same queries and efforts, of different documents.
        n: documents kept.
    """
    scores = np.concatenate([one.scores, other.scores], axis=1)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    found = np.concatenate([one.found, other.found], axis=1)
    return Probe(
        np.take_along_axis(scores, nearest, axis=1),
        np.take_along_axis(found, nearest[:, :, None, None], axis=1),
        one.hits + other.hits,
    )


def recall_curve(probe: Probe, k: int, grid: Grid, costs: Costs) -> list[AuditPoint]:
    """One point for each nprobe and depth.

    Args:
        probe: of all shards, merged, of `followed(k)` documents.
        k: documents that recall counts.
        grid: the efforts that `probe` was measured at.
        costs: what a choice costs.

    Recall is 1 where there is nothing to find.
    """
    wanted = np.isfinite(probe.scores[:, :k])
    hits = probe.hits / max(1, len(wanted))
    points = []
    for column, nprobe in enumerate(grid.nprobes):
        for row, depth in enumerate(grid.depths):
            given = _given(probe.scores, probe.found[:, :, column, row], k)[:, :k]
            recall = float(given[wanted].mean()) if wanted.any() else 1.0
            cost = costs.products(nprobe, float(hits[column, row]))
            points.append(AuditPoint(nprobe, depth, recall, cost))
    return points


def _given(scores: Float32, found: Float32, k: int) -> Bool:
    """bool[Q, n]: which documents are surely among the k that a search gives.

    A document that is not followed scores no more than the last of those that are, so what is found
    by such a score or a higher one is behind none but what is followed. (-inf: there are no more.)
    """
    sure = (found > NOWHERE) & (found >= scores[:, -1:])
    order = np.argsort(-found, axis=1, kind="stable")
    place = np.argsort(order, axis=1)
    result: Bool = sure & (place < k)
    return result


def choose(points: Sequence[AuditPoint], target: float) -> AuditPoint | None:
    """The cheapest point that reaches the target, or None; on equal costs the higher recall."""
    reaching = [point for point in points if point.recall >= target]
    return min(reaching, key=lambda p: (p.cost, -p.recall, p.nprobe, p.depth), default=None)
