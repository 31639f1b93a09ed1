"""The rank flow: queries → encode → search → merge → rerank → collate → deliver."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from shardrank import __version__
from shardrank.core.excluded import EXCLUDED, ExcludedCounts, named_documents
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import DENSE
from shardrank.core.times import utc_now
from shardrank.core.units import Done
from shardrank.corpus.queries import QueryBatch
from shardrank.flows.judged_lists import alone
from shardrank.flows.rank_plan import Ranked, RankedBatch, RankPlan
from shardrank.stages.rank.blend import Blend
from shardrank.stages.rank.collate import LastOrder, collate
from shardrank.stages.rank.deliver import RANKED, deliver
from shardrank.stages.rank.encode_further import Asking, encode_further
from shardrank.stages.rank.feedback import Round, moved
from shardrank.stages.rank.fewer_tokens import fewer_tokens
from shardrank.stages.rank.guided import guided_queries
from shardrank.stages.rank.hubness import corrected
from shardrank.stages.rank.merge import FoundBy, Merged, Merging, merge
from shardrank.stages.rank.query_documents import SearchedBatch, count_same_ids
from shardrank.stages.rank.query_parts import BlockOfParts, write_parts
from shardrank.stages.rank.reorder import Ordered, reorder
from shardrank.stages.rank.rerank import require_scores, rerank
from shardrank.stages.rank.rerank_plan import BlockCandidates, Candidates, scores_by_block
from shardrank.stages.rank.search import Retriever, search
from shardrank.stages.rank.votes import votes_of
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.column_encoders import Sourced
from shardrank.stages.shared.encode import QueryBlock, encode, write_blocks
from shardrank.stages.shared.locate import LOCATE_EXCLUDED, count_absent
from shardrank.stages.shared.outputs import claim
from shardrank.stages.shared.ranked_runs import (
    RankedBlock,
    RankedRetriever,
    RankedRun,
    RankOrigin,
    RankSettings,
    ScoredPairs,
)
from shardrank.version.manifest import Version
from shardrank.version.sizing import bucket_parts


def rank(context: Context, plan: RankPlan, overwrite: bool = False) -> Ranked:
    """Run the flow into the context's workspace, OUT; what an earlier run finished is not done
    again.

    Raises:
        InputError: OUT holds another run's output, which `overwrite` replaces; a model gives
            nothing finite; or no judged query is ranked.
        PlanRefused: the search's pool could never be scheduled.
        RunFailed: some units failed; rerun to resume.
    """
    version = plan.published.version
    if any(version.dim(each.index.scored) for each in plan.retrievers):
        context.search_pool(1, dense=True)
    claim(context.workspace, RANKED, plan.run, overwrite)
    texts = write_blocks(
        context.workspace, plan.queries.table, context.settings.search.block_queries
    )
    encoded = encode(context, texts, plan.encoder)
    queries = _without_rejected(plan.queries, texts, encoded)
    blocks = [block for block in encoded if block.queries.rows]
    queries, parts = _parts(context, plan, queries, blocks)
    how = _merging(context, version, blocks, bool(parts))
    found = _retrieve(context, plan, [*blocks, *(each.parts for each in parts)])
    merged = merge(context, found, blocks, how, parts)
    last = _rerank(context, plan, blocks, merged, how.bucket_parts)
    collated = collate(context, blocks, last)
    _set_aside(context, queries.set_aside)
    searched = SearchedBatch(context.workspace, plan.index, version)
    same = count_same_ids(searched, blocks, merged, how.ignore_same_id)
    absent = _count_absent(context, plan, version)
    excluded = _count_excluded(context, plan, queries.table)
    batch = RankedBatch(queries, blocks, merged, last.steps, collated, same, absent, excluded)
    return _delivered(context, plan, batch)


def _merging(
    context: Context, version: Version, blocks: Sequence[QueryBlock], parts: bool
) -> Merging:
    wanted = context.settings.search
    bucket = bucket_parts(len(version.parts), wanted.k * blocks[0].queries.rows)
    how = Merging(wanted.k, wanted.ignore_same_id, context.settings.fusion, bucket)
    return replace(how, parts=wanted.parts) if parts else how


def _parts(
    context: Context, plan: RankPlan, queries: QueryBatch, blocks: Sequence[QueryBlock]
) -> tuple[QueryBatch, list[BlockOfParts]]:
    """The parts of the blocks' queries, encoded; and the batch without those that cannot be."""
    if queries.parts is None or not queries.parts.table.num_rows:
        return queries, []
    most = context.settings.search.block_queries
    written = write_parts(context.workspace, blocks, queries.parts, most)
    encoded = encode(context, written.files, plan.encoder, "encode_parts")
    left = _without_rejected(queries.parts, written.files, encoded)
    both = zip(written.blocks, encoded, strict=True)
    kept = [BlockOfParts(of, block) for of, block in both if block.queries.rows]
    return replace(queries, parts=left), kept


def _retrieve(context: Context, plan: RankPlan, blocks: Sequence[QueryBlock]) -> list[FoundBy]:
    """What each retriever finds for the queries, by the vectors of its index's encoder."""
    version, asked = plan.published.version, _asked(context, plan, blocks)
    found: dict[str, FoundBy] = {}
    for retriever in sorted(plan.retrievers, key=lambda each: each.guidance is not None):
        first = Round(plan.index, version, blocks, asked[retriever.index.column])
        found[retriever.name] = _found(context, retriever, first, found)
    return [found[retriever.name] for retriever in plan.retrievers]


def _asked(
    context: Context, plan: RankPlan, blocks: Sequence[QueryBlock]
) -> dict[str, list[FileRef]]:
    """The queries' values by the encoder of each column that is wanted, a file a block."""
    version = plan.published.version
    made = {DENSE: version.columns[DENSE], **{each.name: each for each in plan.further}}
    asked = {DENSE: [block.vectors for block in blocks]}
    texts = [block.queries for block in blocks]
    for encoder in plan.further:
        index = version.indexes.get(encoder.name)
        asking = Asking(Sourced.of(encoder, made), index.counts if index else None)
        read = asked[encoder.made_of] if encoder.made_of else texts
        asked[encoder.name] = encode_further(context, plan.index, read, asking)
    return asked


def _found(
    context: Context, retriever: Retriever, first: Round, before: Mapping[str, FoundBy]
) -> FoundBy:
    """What a retriever finds, by the queries as they were asked, with fewer token vectors, or as
    feedback or another one's hits move them, and in the order of its scores or of corrected
    ones."""
    if retriever.feedback:
        queries = moved(context, first, retriever, retriever.feedback)
        asked = replace(first, queries=queries)
    elif how := retriever.guidance:
        queries = guided_queries(context, first, retriever, before[how.by], how)
        asked = replace(first, queries=queries)
    else:
        fewer = fewer_tokens(context, retriever.name, first.queries, retriever.query_pool)
        asked = replace(first, queries=fewer)
    searched = search(context, asked.index, asked.version, asked.queries, retriever)
    found = FoundBy(searched, retriever.k)
    if retriever.correction:
        return corrected(context, asked, retriever, found, retriever.correction)
    return found


def _rerank(
    context: Context,
    plan: RankPlan,
    blocks: Sequence[QueryBlock],
    merged: Sequence[Done[Merged]],
    bucket: int,
) -> LastOrder:
    """Each reranker scores the first documents of the order that the one before left."""
    order = [Ordered(done.made.hits, done.made.buckets, done.made.pairs) for done in merged]
    retrieved = [each.hits for each in order]
    last = LastOrder(retrieved, order, (), Blend(0, 0.0))
    names = [retriever.name for retriever in plan.retrievers]
    votes = [votes_of(done.made.hits, done.made.lists, names) for done in merged]
    for number, reranker in enumerate(plan.rerankers, 1):
        if number > 1:
            order = reorder(context, order, last.reranked, last.blend, bucket, number - 1)
        each = zip(blocks, order, votes, strict=True)
        candidates = Candidates(
            blocks=[BlockCandidates(b.queries, o.buckets, o.pairs, v) for b, o, v in each],
            depth=reranker.settings.depth,
            bucket_parts=bucket,
            version=plan.published.version,
            index=plan.index,
            batch=context.workspace,
        )
        stage = "rerank" if number == len(plan.rerankers) else f"rerank-{number}"
        reranked = rerank(context, candidates, reranker, stage)
        require_scores(context, reranker, reranked, stage)
        blend = Blend(reranker.settings.depth, reranker.card.interpolation)
        last = LastOrder(retrieved, order, (*last.steps, reranked), blend)
    return last


def _delivered(context: Context, plan: RankPlan, batch: RankedBatch) -> Ranked:
    """Write what lies beside the rankings; the report last, which only people read."""
    from shardrank.flows.report import Finished, write_report  # brings jinja2

    manifest = _manifest(context, plan, batch)
    metrics, ignored = context.settings.evaluate.metrics, context.settings.search.ignore_same_id
    judged = plan.judgements
    each = alone(context.workspace, manifest, judged, metrics, ignored) if judged else {}
    delivered = deliver(context, batch.collated, judged, manifest, each)
    evaluation = delivered.evaluation
    write_report(context.workspace, Finished(plan, batch, evaluation, context))
    return Ranked(
        out=context.workspace.storage.root,
        manifest=delivered.manifest,
        counts=batch.counts,
        rejected=batch.queries.set_aside,
        evaluation=evaluation,
        same_ids=batch.same_ids,
        absent=batch.absent,
        excluded=batch.excluded,
    )


def _manifest(context: Context, plan: RankPlan, batch: RankedBatch) -> RankedRun:
    """What OUT/manifest.json says, but for the files that are not written yet."""
    settings, counts = plan.settings, batch.counts
    steps = [scores_by_block(step, len(batch.blocks)) for step in batch.steps]
    scores = [tuple(step[number] for step in steps) for number in range(len(batch.blocks))]
    each = zip(batch.blocks, batch.merged, scores, strict=True)
    return RankedRun(
        run=plan.run,
        index_version=plan.published.number,
        index_content=fingerprint(plan.published.version.content()),
        retrievers=tuple(_told(plan, each) for each in plan.retrievers),
        rerankers=tuple(each.card for each in plan.rerankers),
        settings=RankSettings(settings.search, settings.fusion, settings.dense, settings.reranker),
        queries=batch.queries.table.num_rows,
        queries_rejected=batch.queries.set_aside.num_rows,
        pairs=ScoredPairs(counts.reranked, counts.not_finite),
        same_ids=batch.same_ids,
        blocks=tuple(
            RankedBlock(b.queries, b.vectors, d.made.hits, d.made.lists, s) for b, d, s in each
        ),
        rankings=(),
        files={},
        made=RankOrigin(
            time=utc_now(),
            shardrank=__version__,
            command=context.command,
            index=plan.index.storage.root,
            queries=plan.source,
            qrels=plan.qrels,
            set=plan.asked.given(),
        ),
    )


def _told(plan: RankPlan, retriever: Retriever) -> RankedRetriever:
    index, how = retriever.index, retriever.how
    card = plan.published.version.columns[index.column].card
    return RankedRetriever(
        name=retriever.name,
        column=index.column,
        encoder=card,
        k=retriever.k,
        nprobe=how.nprobe,
        depth=how.depth,
        bm25=how.bm25,
        feedback=retriever.feedback,
        guidance=retriever.guidance,
        correction=retriever.correction,
        query_pool=retriever.query_pool,
    )


def _count_absent(context: Context, plan: RankPlan, version: Version) -> int:
    asked = set(plan.queries.table["query_id"].to_pylist())
    judged = {j.doc_id for j in plan.judgements if j.query_id in asked}
    return count_absent(context, plan.index, version.parts, judged) if judged else 0


def _count_excluded(context: Context, plan: RankPlan, queries: pa.Table) -> ExcludedCounts | None:
    if EXCLUDED not in queries.column_names:
        return None
    lists, parts = queries[EXCLUDED], plan.published.version.parts
    some = pc.sum(pc.greater(pc.list_value_length(lists), 0)).as_py() or 0
    named = named_documents([lists])
    absent = count_absent(context, plan.index, parts, named, LOCATE_EXCLUDED) if named else 0
    return ExcludedCounts(some, len(named), absent)


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
    context.watch.rejected("encode", Counter(rejected["reason"].to_pylist()))
    if rejected.num_rows:
        context.workspace.write_table(key, rejected)
    else:
        context.workspace.storage.delete(key)
