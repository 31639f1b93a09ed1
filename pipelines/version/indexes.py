"""A version's indexes: their shards, codecs and audits."""

from dataclasses import dataclass
from typing import Annotated

from shardrank.core.files import FileRef
from shardrank.core.index_settings import AuditSettings, IndexSettings
from shardrank.core.settings_base import DECIDING
from shardrank.version.sizing import CodecPlan, Kind


@dataclass(frozen=True)
class Shard:
    """The unit of search: ordinals of the parts it covers, and its file (none: exact search).

    `error` is the share of the vectors' energy that their codes lose, as measured when the shard
    was built; 0 where there is no file.
    """

    parts: tuple[int, ...]
    file: FileRef | None
    error: float = 0.0


@dataclass(frozen=True)
class Codec:
    """The trained quantiser: its file, the passages there were when it was trained, its error."""

    file: FileRef
    passages: int
    error: float


@dataclass(frozen=True)
class AuditPoint:
    """Recall at one choice of nprobe and depth, and what it costs a query: see
    `shardrank.version.recall.CostModel`."""

    nprobe: int
    depth: int
    recall: float
    cost: float


@dataclass(frozen=True)
class Audit:
    """How much of exact search an index finds.

    Attributes:
        kind: of the index; exact ones need no audit.
        k: documents that recall counts.
        target: recall that it must reach.
        recall, nprobe, depth: of the chosen effort; of the greatest where none reaches the target.
        points: the measured curve.
        questions: that were asked.
    """

    kind: Kind
    k: int
    target: float
    recall: float
    nprobe: int
    depth: int
    points: tuple[AuditPoint, ...]
    questions: int


@dataclass(frozen=True)
class TermCounts:
    """In how many passages each word is: what BM25 weights words by.

    Attributes:
        passages: live ones.
        words: in all of them, counted as often as they occur.
        terms: term and passages, ascending by term.
    """

    passages: int
    words: int
    terms: FileRef


@dataclass(frozen=True)
class Index:
    """An index over one column.

    Attributes:
        column: its name.
        plan: what decides the codec.
        settings: that the plan was made from.
        codec: the trained quantiser, or what the column's codes were made by; None: the kind has
            none.
        counts: of words, over all live passages; None: the column holds weights already.
        shards: the units of search, which together cover all parts.
        audit: how much of exact search it finds.
        audit_settings: that it was audited with.
        source: the column of vectors by which what codes find is scored; None: its own.
    """

    column: str
    plan: CodecPlan
    settings: Annotated[IndexSettings, DECIDING]
    codec: Codec | None
    counts: TermCounts | None
    shards: tuple[Shard, ...]
    audit: Audit
    audit_settings: Annotated[AuditSettings, DECIDING]
    source: str | None = None

    @property
    def scored(self) -> str:
        """The column whose values score what is found."""
        return self.source or self.column
