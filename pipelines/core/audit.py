"""The audit's arithmetic: which search settings reach a recall, at what cost.

Recall@k here compares with exact search over passages: the share of a query's k nearest passages
that are among the candidates, since every candidate is then scored exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.protocols import Float32, Int32


@dataclass(frozen=True, eq=False)
class Probe:
    """The exact nearest passages of Q queries, and where searches find them.

    Attributes:
        scores: float32[Q, k], descending; -inf where there are fewer than k.
        ranks: int32[Q, k, G], the neighbour's rank (from 1) among its shard's candidates at each
            of G values of nprobe; 0 where it is not among them.
    """

    scores: Float32
    ranks: Int32


@dataclass(frozen=True)
class AuditPoint:
    """Recall at one choice of nprobe and depth, and what it costs a query: see `CostModel`."""

    nprobe: int
    depth: int
    recall: float
    cost: float


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
    shards: int
    nlist: int
    dim: int

    def products(self, nprobe: int, depth: int) -> float:
        """Rows scanned × components + hits refined × what each takes."""
        scanned = self.passages * min(nprobe, self.nlist) / self.nlist
        refined = min(depth * self.shards, scanned)
        return scanned * self.dim + refined * REFINED_PRODUCTS


def probe_grid(nlist: int) -> list[int]:
    """The values of nprobe that the audit tries: powers of two, and nlist itself."""
    return [*(1 << i for i in range(nlist.bit_length()) if 1 << i < nlist), nlist]


def depth_grid(k: int, max_depth: int) -> list[int]:
    """The depths of refinement that the audit tries: k·1, k·2, k·4, …, and max_depth itself.

    Args:
        k: hits that recall counts.
        max_depth: at least k, as AuditSettings sees to.
    """
    doublings = (max_depth // k).bit_length()
    return [*(k << i for i in range(doublings) if k << i < max_depth), max_depth]


def merge_probes(probes: Sequence[Probe], k: int) -> Probe:
    """The k nearest over all shards; on ties the earlier shard wins, so the order matters.

    Args:
        probes: one a shard, at least one, for the same queries and values of nprobe.
        k: neighbours kept.
    """
    scores = np.concatenate([probe.scores for probe in probes], axis=1)
    found = np.concatenate([probe.ranks for probe in probes], axis=1)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Probe(
        np.take_along_axis(scores, nearest, axis=1),
        np.take_along_axis(found, nearest[:, :, None], axis=1),
    )


def recall_curve(
    probe: Probe, nprobes: Sequence[int], depths: Sequence[int], costs: CostModel
) -> list[AuditPoint]:
    """One point for each nprobe and depth.

    Args:
        probe: of all shards, merged.
        nprobes: the G values that `probe.ranks` was measured at.
        depths: hits of each shard that would be refined.
        costs: what a choice costs.

    Recall is 1 where there is nothing to find.
    """
    ranks = probe.ranks[np.isfinite(probe.scores)]
    points = []
    for column, nprobe in enumerate(nprobes):
        rank = ranks[:, column]
        for depth in depths:
            recall = float(np.mean((rank > 0) & (rank <= depth))) if len(rank) else 1.0
            points.append(AuditPoint(nprobe, depth, recall, costs.products(nprobe, depth)))
    return points


def choose(points: Sequence[AuditPoint], target: float) -> AuditPoint | None:
    """The cheapest point that reaches the target, or None; on equal costs the higher recall."""
    reaching = [point for point in points if point.recall >= target]
    return min(reaching, key=lambda p: (p.cost, -p.recall, p.nprobe, p.depth), default=None)
