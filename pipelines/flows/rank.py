"""The rank flow: queries → encode → search → merge → rerank → collate → ranked Parquet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

from shardrank.core.cards import EncoderCard, RerankerCard
from shardrank.core.errors import InputError
from shardrank.core.evaluation import Judgement
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import fingerprint
from shardrank.core.rank_counts import RankCounts
from shardrank.core.same_ids import SameIds
from shardrank.core.settings import RerankerSettings, Settings
from shardrank.core.source_files import Listing
from shardrank.core.units import Done, total
from shardrank.corpus.qrels import read_judged
from shardrank.corpus.queries import QueryBatch, read_queries
from shardrank.index.library import require_faiss
from shardrank.models.cards import read_encoder_card, read_reranker_card
from shardrank.models.complete import check_encoder, check_reranker
from shardrank.stages.rank.collate import Blend, Collated, collate
from shardrank.stages.rank.merge import Merged, merge
from shardrank.stages.rank.query_documents import SearchedBatch, count_same_ids
from shardrank.stages.rank.rerank_pairs import (
    BlockCandidates,
    Candidates,
    Scores,
    require_scores,
    rerank,
)
from shardrank.stages.rank.search import Effort, search
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.encode import QueryBlock, encode, write_blocks
from shardrank.stages.shared.locate import count_absent
from shardrank.stages.shared.versions import Published, open_version
from shardrank.storage import Sources
from shardrank.version.kept_settings import index_encoder, runs_in_bf16
from shardrank.version.manifest import Version
from shardrank.version.sizing import bucket_parts


@dataclass(frozen=True)
class RankPlan:
    """What a rank run will read, with which models; known before any work, without Ray.

    `settings` are the run's, with the index's own encoder.
    """

    index: Workspace
    published: Published
    listing: Listing
    queries: QueryBatch
    judgements: Sequence[Judgement]
    settings: Settings
    card: EncoderCard
    reranker: RerankerCard | None
    how: Effort
    run: str

    @property
    def amount(self) -> Amount:
        """How much there is to do at most."""
        depth = min(self.settings.search.k, self.settings.reranker.depth) if self.reranker else 0
        queries = self.queries.table.num_rows
        return Amount(0, self.published.version.live.passages, queries * depth)


@dataclass(frozen=True)
class Ranked:
    """What a rank run leaves: the batch as it was ranked, its query blocks, the markers of its last
    stages, how often a query's hits held the document with its own id, and how many of the
    documents that were judged for its queries the index does not hold."""

    queries: QueryBatch
    blocks: Sequence[QueryBlock]
    merged: Sequence[Done[Merged]]
    reranked: Sequence[Done[Scores]]
    collated: Sequence[Done[Collated]]
    same_ids: SameIds
    absent: int

    @property
    def counts(self) -> RankCounts:
        """Of queries and pairs."""
        rejected = self.queries.rejected
        asked, ranked = self.queries.table.num_rows, total(self.collated, "queries")
        return RankCounts(
            queries=asked + rejected.num_rows,
            ranked=ranked,
            hitless=asked - ranked,
            rejected=Counter(rejected["reason"].to_pylist()),
            pairs=total(self.collated, "pairs"),
            not_finite=total(self.collated, "not_finite"),
            truncated=total(self.collated, "truncated"),
        )


def plan_ranking(index: Workspace, queries: str, qrels: str | None, settings: Settings) -> RankPlan:
    """Pin the latest version, read the queries and judgements, check that the models match.

    Raises:
        InputError: no version, no usable queries, bad qrels, or a model that is not the index's.
    """
    published = open_version(index)
    sources = Sources(settings.s3)
    listing = sources.listing(queries, settings.corpus.allow_unread)
    batch = read_queries(listing.read, sources.open, settings.corpus)
    if not batch.table.num_rows:
        raise InputError(f"{queries} holds no usable query.", "Queries need an id and a text.")
    asked = batch.table["query_id"].to_pylist()
    judgements = read_judged(sources.open, qrels, asked) if qrels else []
    encoder = index_encoder(published.version, settings.encoder)
    check_encoder(encoder)
    card = read_encoder_card(encoder)
    _require_match(published, card)
    reranker = _reranker_card(published.version, settings.reranker)
    settings = settings.model_copy(update={"encoder": encoder})
    require_faiss(published.version.index.plan.kind)
    how = _effort(published, settings)
    decided = {
        "version": fingerprint(published.version.content()),
        "queries": fingerprint(batch.table.to_pylist()),
        "search": settings.search.deciding(),
        "how": [how.k, how.nprobe, how.depth],
        "reranker": [reranker.fingerprint, reranker.interpolation] if reranker else None,
        "depth": settings.reranker.depth,
    }
    run = fingerprint(decided)
    return RankPlan(
        index, published, listing, batch, judgements, settings, card, reranker, how, run
    )


def rank(context: Context, plan: RankPlan) -> Ranked:
    """Run the flow; what an earlier run finished is not done again."""
    version, depth = plan.published.version, context.settings.reranker.depth
    texts = write_blocks(
        context.workspace, plan.queries.table, context.settings.search.block_queries
    )
    encoded = encode(context, texts, plan.card)
    queries = _without_rejected(plan.queries, texts, encoded)
    blocks = [block for block in encoded if block.queries.rows]
    searched = search(context, plan.index, version, blocks, plan.how)
    bucket = bucket_parts(len(version.parts), context.settings.search.k * blocks[0].queries.rows)
    merged = merge(context, searched, blocks, bucket)
    reranked: list[Done[Scores]] = []
    if plan.reranker:
        both = zip(blocks, merged, strict=True)
        candidates = Candidates(
            blocks=[BlockCandidates(b.queries, d.made.buckets, d.made.pairs) for b, d in both],
            depth=depth,
            bucket_parts=bucket,
            version=version,
            index=plan.index,
            batch=context.workspace,
        )
        reranked = rerank(context, candidates, plan.reranker)
        require_scores(context, plan.reranker, reranked)
    how = Blend(depth, plan.reranker.interpolation) if plan.reranker else Blend(0, 0.0)
    collated = collate(context, blocks, merged, reranked, how)
    _set_aside(context, queries.rejected)
    same = count_same_ids(
        SearchedBatch(context.workspace, plan.index, version),
        blocks,
        merged,
        context.settings.search.ignore_same_id,
    )
    absent = _count_absent(context, plan, version)
    return Ranked(queries, blocks, merged, reranked, collated, same, absent)


def _count_absent(context: Context, plan: RankPlan, version: Version) -> int:
    asked = set(plan.queries.table["query_id"].to_pylist())
    judged = {j.doc_id for j in plan.judgements if j.query_id in asked}
    return count_absent(context, plan.index, version.parts, judged) if judged else 0


def _without_rejected(
    batch: QueryBatch, texts: Sequence[FileRef], blocks: Sequence[QueryBlock]
) -> QueryBatch:
    starts = accumulate((ref.rows for ref in texts), initial=0)
    both = zip(starts, blocks, strict=False)
    found = {start + query.row: query.reason for start, block in both for query in block.rejected}
    return batch.reject(found) if found else batch


def _set_aside(context: Context, rejected: pa.Table) -> None:
    """The queries that cannot be ranked; those of a run before may have been mended since."""
    key = "rejected/queries.parquet"
    if rejected.num_rows:
        context.workspace.write_table(key, rejected)
    else:
        context.workspace.storage.delete(key)


def _reranker_card(version: Version, settings: RerankerSettings) -> RerankerCard | None:
    if settings.model == "off":
        return None
    check_reranker(settings)
    return read_reranker_card(settings, halve=runs_in_bf16(version))


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


def _effort(published: Published, settings: Settings) -> Effort:
    """The audited effort, unless the settings say otherwise."""
    index = published.version.index
    # One more where one is passed over, so that k are left.
    k = settings.search.k + settings.search.ignore_same_id
    if index.codec is None:
        return Effort(k, 0, 0)
    nprobe = settings.search.nprobe or index.audit.nprobe
    return Effort(k, nprobe, max(settings.search.depth or index.audit.depth, k))
