"""What a rank run reads and with which models, known before any work; and what it leaves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from shardrank.core.cards import EncoderCard
from shardrank.core.errors import InputError
from shardrank.core.evaluation import Evaluation, Judgement, Metrics
from shardrank.core.excluded import EXCLUDED, ExcludedCounts, longest
from shardrank.core.fingerprint import fingerprint, sha256_hex
from shardrank.core.papers import to_json
from shardrank.core.rank_counts import RankCounts
from shardrank.core.same_ids import SameIds
from shardrank.core.settings import Settings
from shardrank.core.source_files import Listing
from shardrank.core.units import Done, total
from shardrank.corpus.qrels import read_judged
from shardrank.corpus.queries import QueryBatch, read_queries
from shardrank.corpus.query_excludes import with_excluded
from shardrank.flows.rerankers import plan_rerankers
from shardrank.flows.retrievers import plan_retrievers, refuse_unseen, require_same_model
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.stages.rank.collate import Collated
from shardrank.stages.rank.merge import Merged
from shardrank.stages.rank.rerank_lists import told
from shardrank.stages.rank.rerank_plan import PlannedReranker, Scores
from shardrank.stages.rank.search import Retriever
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.encode import PICTURE, QueryBlock
from shardrank.stages.shared.ranked_runs import RankedRun
from shardrank.stages.shared.versions import Published, open_version
from shardrank.storage import Sources
from shardrank.version.kept_settings import further_encoders, index_encoder
from shardrank.version.manifest import DenseEncoder, StoredEncoder


@dataclass(frozen=True)
class RankPlan:
    """What a rank run will read, with which models; known before any work, without Ray.

    `source` and `qrels` are the queries and judgements as they were given, `asked` the settings;
    `settings` are the run's, with the index's own encoder, which is the first; `further` are the
    others that a retriever needs.
    """

    index: Workspace
    published: Published
    source: str
    qrels: str | None
    listing: Listing
    queries: QueryBatch
    judgements: Sequence[Judgement]
    asked: Settings
    settings: Settings
    encoder: DenseEncoder
    further: Sequence[StoredEncoder]
    retrievers: Sequence[Retriever]
    rerankers: Sequence[PlannedReranker]
    run: str

    @property
    def reranker(self) -> PlannedReranker | None:
        """The last one, whose scores the rankings hold."""
        return self.rerankers[-1] if self.rerankers else None

    @property
    def amount(self) -> Amount:
        """How much there is to do at most."""
        k = self.settings.search.k
        depths = sum(min(k, reranker.settings.depth) for reranker in self.rerankers)
        queries = self.queries.table.num_rows
        return Amount(0, self.published.version.live.passages, queries * depths)


@dataclass(frozen=True)
class RankedBatch:
    """What the stages made: the batch as it was ranked, its query blocks, the markers of merging,
    of each reranker and of collating, how often a query's hits held the document with its own id,
    how many of the documents that were judged for its queries the index does not hold, and what its
    queries exclude, if they may."""

    queries: QueryBatch
    blocks: Sequence[QueryBlock]
    merged: Sequence[Done[Merged]]
    steps: Sequence[Sequence[Done[Scores]]]
    collated: Sequence[Done[Collated]]
    same_ids: SameIds
    absent: int
    excluded: ExcludedCounts | None

    @property
    def counts(self) -> RankCounts:
        """Of queries and pairs."""
        rejected, parts = self.queries.set_aside, self.queries.parts
        asked, ranked = self.queries.table.num_rows, total(self.collated, "queries")
        return RankCounts(
            queries=asked + (parts.table.num_rows if parts else 0) + rejected.num_rows,
            ranked=ranked,
            hitless=asked - ranked,
            parts=parts.table.num_rows if parts else 0,
            rejected=Counter(rejected["reason"].to_pylist()),
            pairs=total(self.collated, "pairs"),
            not_finite=total(self.collated, "not_finite"),
            truncated=total(self.collated, "truncated"),
            told=told([done for step in self.steps for done in step]),
        )


@dataclass(frozen=True)
class Ranked:
    """What a rank run leaves in OUT.

    Attributes:
        out: where.
        manifest: what OUT/manifest.json says, such as the files of the rankings.
        counts: of queries and pairs.
        rejected: queries that were set aside (REJECTED).
        evaluation: the metrics, and what to know of them; None: without judgements.
        same_ids: hits that have their query's own id.
        absent: judged documents that the index does not hold.
        excluded: what queries exclude; None: they name nothing.
    """

    out: str
    manifest: RankedRun
    counts: RankCounts
    rejected: pa.Table
    evaluation: Evaluation | None
    same_ids: SameIds
    absent: int
    excluded: ExcludedCounts | None = None

    @property
    def run(self) -> str:
        """The run's name: that of its inputs and settings."""
        return self.manifest.run

    @property
    def metrics(self) -> Metrics | None:
        """As OUT/metrics.json has them."""
        return self.evaluation.metrics if self.evaluation else None


def plan_ranking(index: Workspace, queries: str, qrels: str | None, settings: Settings) -> RankPlan:
    """Pin the latest version, read the queries and judgements, check that the models match.

    Raises:
        InputError: no version, no usable queries, bad qrels, or a model that is not the index's.
    """
    published = open_version(index)
    sources = Sources(settings.s3)
    listing = sources.listing(queries, settings.corpus.allow_unread)
    batch = _read_batch(listing, queries, sources, settings)
    asked = batch.table["query_id"].to_pylist()
    judgements = read_judged(sources.open, qrels, asked) if qrels else []
    version = published.version
    encoder = index_encoder(version, settings.dense)
    check_encoder(encoder)
    card = read_encoder_card(encoder)
    _require_match(published, card)
    retrievers = plan_retrievers(version, settings, most_excluded(batch.table))
    further = _needed(further_encoders(version, settings), retrievers)
    for each in further:
        require_same_model(each, version)
    rerankers = plan_rerankers(version, settings)
    refuse_unseen(batch.table, version, retrievers, len(rerankers))
    if batch.parts:
        refuse_unseen(batch.parts.table, version, retrievers, 0)
    asked = settings
    settings = settings.model_copy(update={"encoder": (encoder, *settings.further)})
    plan = RankPlan(
        index=index,
        published=published,
        source=queries,
        qrels=qrels,
        listing=listing,
        queries=batch,
        judgements=judgements,
        asked=asked,
        settings=settings,
        encoder=DenseEncoder(card, encoder),
        further=further,
        retrievers=retrievers,
        rerankers=rerankers,
        run="",
    )
    return replace(plan, run=_run_name(plan))


def _read_batch(listing: Listing, source: str, sources: Sources, settings: Settings) -> QueryBatch:
    batch = read_queries(
        listing.read, sources.open, settings.corpus, pictures=True, parent=settings.search.parent
    )
    if column := settings.search.exclude:
        batch = with_excluded(batch, listing.read, sources.open, settings.corpus, column)
    if not batch.table.num_rows:
        raise InputError(f"{source} holds no usable query.", "Queries need an id and a text.")
    return batch


def most_excluded(queries: pa.Table) -> int:
    """Documents that one of these queries excludes, at most."""
    return longest(queries[EXCLUDED]) if EXCLUDED in queries.column_names else 0


def _run_name(plan: RankPlan) -> str:
    """From all that decides the rankings."""
    settings, batch = plan.settings, plan.queries
    decided = {
        "version": fingerprint(plan.published.version.content()),
        "queries": fingerprint(_told(batch.table)),
        "parts": fingerprint(_told(batch.parts.table)) if batch.parts else None,
        "search": settings.search.deciding(),
        "retrievers": [
            [
                *(r.name, r.index.column, r.k, r.query_pool),
                *map(to_json, (r.how, r.feedback, r.guidance, r.correction)),
            ]
            for r in plan.retrievers
        ],
        "fusion": settings.fusion.deciding() if len(plan.retrievers) > 1 else None,
        "rerankers": [
            [each.card.fingerprint, each.card.interpolation, each.settings.depth]
            for each in plan.rerankers
        ],
    }
    return fingerprint(decided)


def _told(queries: pa.Table) -> list[dict[str, Any]]:
    """The queries as JSON, their pictures by sha256."""
    if PICTURE not in queries.column_names:
        return queries.to_pylist()  # type: ignore[no-any-return]
    shown = (each and sha256_hex(each) for each in queries[PICTURE].to_pylist())
    others = queries.drop_columns(PICTURE).to_pylist()
    return [{**each, PICTURE: picture} for each, picture in zip(others, shown, strict=True)]


def _needed(
    further: Sequence[StoredEncoder], retrievers: Sequence[Retriever]
) -> list[StoredEncoder]:
    """Encoders of the columns that are searched, and of those that these are made of, in the order
    in which columns are made."""
    wanted = {retriever.index.column for retriever in retrievers}
    for each in reversed(further):
        if each.name in wanted and each.made_of:
            wanted.add(each.made_of)
    return [each for each in further if each.name in wanted]


def _require_match(published: Published, card: EncoderCard) -> None:
    built = published.version.dense.card
    if built.fingerprint != card.fingerprint:
        raise InputError(
            f"The model {card.name!r} is not the one the index was built with: "
            f"{_unlike(card, built)}.",
            "Give the original model (code that it needs is trusted anew by each command: "
            "encoder.trust_remote_code), or index again.",
        )


def _unlike(card: EncoderCard, built: EncoderCard) -> str:
    if card.weights_sha256 == built.weights_sha256:
        return "its weights are, but its tokeniser, its config or the code that it trusts differ"
    return (
        f"its weights' sha256 is {card.weights_sha256[:12]}…, "
        f"there it is {built.weights_sha256[:12]}…"
    )
