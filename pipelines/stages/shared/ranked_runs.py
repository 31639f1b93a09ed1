"""What a ranking's folder says of itself: OUT/manifest.json, written last, for whoever reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from shardrank.core.cards import ColumnCard, RerankerCard, WriterCard
from shardrank.core.errors import InputError
from shardrank.core.feedback import Feedback
from shardrank.core.files import FileRef
from shardrank.core.folds import Fold
from shardrank.core.guidance import Guidance
from shardrank.core.hubness import Correction
from shardrank.core.model_settings import DENSE, EncoderSettings
from shardrank.core.papers import from_json, to_readable
from shardrank.core.rank_settings import FusionSettings, SearchSettings
from shardrank.core.reranker_settings import AnyReranker
from shardrank.core.same_ids import SameIds
from shardrank.core.settings_base import DECIDING
from shardrank.core.writer_settings import QueryWriterSettings
from shardrank.index.bm25 import Bm25
from shardrank.stages.run.workspace import Workspace

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RankedBlock:
    """A block of queries, their vectors by the first encoder, their hits, those of each retriever
    where there are several, and each reranker's scores of them: query, part, row, logit,
    truncated; and, where documents are folded, of each retriever its hits with their passages'
    scores, see `shardrank.core.passage_scores`."""

    queries: FileRef
    vectors: FileRef
    hits: FileRef
    lists: tuple[FileRef, ...]
    scores: tuple[tuple[FileRef, ...], ...]
    passages: tuple[FileRef, ...] = ()  # none in rankings of before it was there


@dataclass(frozen=True)
class RankedRetriever:
    """An index that was searched.

    Attributes:
        name: of the retriever.
        column: of the index.
        encoder: its card: the model's name, fingerprint, sha256 of its weights.
        k: documents that a query was to be given.
        nprobe, depth: lists probed and documents refined in each shard (both 0: exact search).
        bm25: how words were weighted; None: they were not counted.
        feedback: towards how many first documents queries were moved; None: there was one round.
        correction: how hubs were lowered; None: they were not.
        guidance: by which other retriever queries were moved, and how; None: by none.
        query_pool: for how many tokens a query kept one vector.
        fold: how the scores of a document's passages became its own; None: its best one's is.
    """

    name: str
    column: str
    encoder: ColumnCard
    k: int
    nprobe: int
    depth: int
    bm25: Bm25 | None
    feedback: Feedback | None
    correction: Correction | None
    guidance: Guidance | None = None  # none in rankings of before it was there
    query_pool: float = 1.0  # likewise
    fold: Fold | None = None  # likewise


@dataclass(frozen=True)
class ScoredPairs:
    """How many pairs a reranker scored, and could not."""

    scored: int
    not_finite: int


@dataclass(frozen=True)
class RankSettings:
    """The settings that decide a ranking, as the run had them.

    The encoder's are those of the index.
    """

    search: Annotated[SearchSettings, DECIDING]
    fusion: Annotated[FusionSettings, DECIDING]
    encoder: Annotated[EncoderSettings, DECIDING]
    reranker: tuple[Annotated[AnyReranker, DECIDING], ...]
    writer: Annotated[QueryWriterSettings, DECIDING] | None = None  # none in rankings of before

    @property
    def parts(self) -> bool:
        """Whether queries may have parts, given or written."""
        written = self.writer is not None and self.writer.makes == "parts"
        return self.search.parent is not None or written


@dataclass(frozen=True)
class RankOrigin:
    """How a ranking was made; it differs between rankings that are otherwise equal.

    Attributes:
        time: in UTC, by ISO 8601.
        shardrank: the software's version.
        command: what it was asked for by.
        index: where it lay.
        queries, qrels: files, folders or globs as they were given; no qrels: no judgements.
        set: the settings that were not left to their defaults.
    """

    time: str
    shardrank: str
    command: str
    index: str
    queries: str
    qrels: str | None
    set: Mapping[str, Any]


@dataclass(frozen=True)
class RankedRun:
    """A finished ranking.

    Attributes:
        run: names it from its inputs and settings.
        index_version, index_content: the number of the version that it searched, and the
            fingerprint of its content.
        queries, queries_rejected: how many were ranked, and how many could not be.
        same_ids: hits that have their query's own id.
        retrievers: the indexes that were searched, and how.
        rerankers: the models' cards: names, fingerprints, sha256 of the weights.
        settings: that decided it.
        rankings: RANKINGS, a file a block.
        files: what lies beside them, by name.
        writer: the card of what wrote about the queries; None: nothing did.
    """

    run: str
    made: RankOrigin
    index_version: int
    index_content: str
    queries: int
    queries_rejected: int
    pairs: ScoredPairs
    same_ids: SameIds
    retrievers: tuple[RankedRetriever, ...]
    rerankers: tuple[RerankerCard, ...]
    settings: RankSettings
    rankings: tuple[FileRef, ...]
    files: Mapping[str, FileRef]
    blocks: tuple[RankedBlock, ...]
    writer: WriterCard | None = None  # none in rankings of before it was there

    @property
    def reranker(self) -> RerankerCard | None:
        """The last one, whose scores the rankings hold."""
        return self.rerankers[-1] if self.rerankers else None

    @property
    def by_first(self) -> bool:
        """Whether its hits' scores are those of the first encoder's vectors alone, of the queries
        as they were asked."""
        [first, *others] = self.retrievers
        moved = first.feedback or first.guidance or first.correction or first.fold
        more = self.settings.search.parent or self.writer
        return first.column == DENSE and not (others or moved or more)


def write_ranked(workspace: Workspace, ranked: RankedRun) -> None:
    """Say that the ranking is finished."""
    workspace.storage.write(MANIFEST, to_readable(ranked))


def read_ranked(workspace: Workspace) -> RankedRun:
    """Raises InputError where the folder holds no finished ranking, or one of another shardrank."""
    root = workspace.storage.root
    if not workspace.storage.exists(MANIFEST):
        raise InputError(
            f"{root} holds no finished ranking.", "Make one: shardrank rank INDEX QUERIES OUT."
        )
    try:
        return from_json(RankedRun, workspace.read_json(MANIFEST))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{root}/{MANIFEST} is not the manifest of a ranking by this shardrank ({error}).",
            "Name the OUT of shardrank rank; or give the rank command again, with --overwrite.",
        ) from error
