"""What a report shows, as plain values: nothing here reads files or knows how a run is stored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shardrank.core.evaluation import Coverage
from shardrank.report.queries import QueryTable
from shardrank.version.indexes import AuditPoint

Flow = Literal["index", "rank", "label"]


@dataclass(frozen=True)
class StageTime:
    """One stage of a flow: its units, of which an earlier run had done `resumed`.

    `rows` and wall `seconds` are of the other units only, those that this run did.
    """

    flow: Flow
    stage: str
    units: int
    resumed: int
    rows: int
    seconds: float


@dataclass(frozen=True)
class AuditCurve:
    """The audit's Recall@k against exact search.

    Attributes:
        k: documents that recall counts.
        target: recall in [0, 1] that the index had to reach.
        points: one a setting that was tried; empty for an exact index.
        chosen: (nprobe, depth) that queries use; none where no point reached the target, and
            for an exact index.
        kind: "exact", "ivfpq", "ivfsq8" or "ivfrabitq".
    """

    k: int
    target: float
    points: tuple[AuditPoint, ...]
    chosen: tuple[int, int] | None
    kind: str


@dataclass(frozen=True)
class Histogram:
    """n counts between n + 1 ascending edges; the last bin includes its right edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: npt.ArrayLike, edges: tuple[float, ...]) -> "Histogram":
        """Counts the values between the edges; values outside them and NaN are left out."""
        counts, _ = np.histogram(np.asarray(values, dtype=np.float64), bins=np.asarray(edges))
        return cls(edges, tuple(int(count) for count in counts))

    @classmethod
    def over(cls, parts: Iterable[npt.ArrayLike], edges: tuple[float, ...]) -> "Histogram":
        """Counts the values of all parts, of which one is in memory at a time."""
        empty = cls(edges, (0,) * (len(edges) - 1))
        return sum((cls.of(values, edges) for values in parts), empty)

    def __add__(self, other: "Histogram") -> "Histogram":
        """The histogram of both inputs' values. Raises ValueError where the edges differ."""
        if self.edges != other.edges:
            raise ValueError("Histograms with different edges cannot be added.")
        pairs = zip(self.counts, other.counts, strict=True)
        return Histogram(self.edges, tuple(a + b for a, b in pairs))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The value below which `share` of the values lie, interpolated within its bin."""
        below = np.concatenate([[0], np.cumsum(self.counts)])
        return float(np.interp(share * self.total, below, self.edges))


def even_edges(low: float, high: float, bins: int = 40) -> tuple[float, ...]:
    """Edges of `bins` equal bins from low to high; an empty range gets the width 1."""
    width = 1.0 if high <= low else 0.0
    return tuple(float(edge) for edge in np.linspace(low - width / 2, high + width / 2, bins + 1))


def edges_over(parts: Iterable[npt.NDArray[Any]]) -> tuple[float, ...] | None:
    """Even edges from the least to the largest value of all parts; None where there is none."""
    ends = [(float(values.min()), float(values.max())) for values in parts if len(values)]
    return even_edges(min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


@dataclass(frozen=True)
class Line:
    """One ranked document of an example.

    Attributes:
        rank: from 1, in the order that the line belongs to.
        snippet: the start of the passage, already cut (see `figures.snippet`).
        score: what the order sorts by.
        relevant: as judged; none where there is no judgement.
        moved: places up (positive) or down (negative) from the retrieved order.
    """

    rank: int
    doc_id: str
    title: str
    snippet: str
    score: float
    relevant: bool | None
    moved: int


@dataclass(frozen=True)
class Example:
    """A query's first documents as retrieved, and as reranked (empty where they were not); and what
    was written about it before it was searched."""

    query_id: str
    query: str
    before: tuple[Line, ...]
    after: tuple[Line, ...]
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportCounts:
    """How much there was. `rows` were read by the run that made the version; each was accepted
    (new, changed, unchanged, the note that a document is gone, or superseded by a later row of an
    upsert) or rejected. `documents` and `passages` are live in the index.

    `truncated` counts the passages that a model sees less than the whole of; `pairs` are the
    (query, passage) pairs that the reranker scored, and `not_finite` those that it could not.
    """

    rows: int
    accepted: int
    rejected: int
    documents: int
    passages: int
    truncated: int
    queries: int
    pairs: int
    not_finite: int = 0


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows. What is none or empty is said to be missing in a sentence.

    Attributes:
        created: the time of the report as it shall be shown.
        command: the command line that ran.
        versions: name → version, of the software and of the index.
        settings: `table.key` → value, of the settings that decided the result.
        batch: what became of the queries and pairs, a line each.
        notices: what the reader should know of the metrics, a sentence each.
        metrics: as `evaluate` gives them: "retrieved" and perhaps "reranked".
        rejected_by_reason: reason → rows.
    """

    title: str
    created: str
    command: str
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    counts: ReportCounts
    stages: tuple[StageTime, ...] = ()
    audit: AuditCurve | None = None
    lengths: Histogram | None = None
    retrieval_scores: Histogram | None = None
    rerank_logits: Histogram | None = None
    metrics: Mapping[str, Mapping[str, float]] | None = None
    coverage: Coverage | None = None
    batch: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    queries: QueryTable | None = None
