"""The label flow: a ranked run → locate → mine → gather → teachers → score → export → deliver."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from shardrank.core.excluded import EXCLUDED, named_documents
from shardrank.core.files import FileRef
from shardrank.core.model_settings import DENSE
from shardrank.core.units import Done, total
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.flows.label_plan import Labelled, LabelledBatch, LabelPlan, TeacherPlan
from shardrank.labels.tables import JUDGED
from shardrank.stages.label.deliver_labels import LabelledRun, claim_labels, deliver_labels
from shardrank.stages.label.export import ExportInputs, export
from shardrank.stages.label.gather import Stores, gather, gathered_by_block
from shardrank.stages.label.mine import POOL, Mined, Mining, mine
from shardrank.stages.label.score import ScoreInputs, Teacher, score
from shardrank.stages.rank.rerank import require_scores, rerank
from shardrank.stages.rank.rerank_plan import (
    BlockCandidates,
    Candidates,
    scores_by_block,
)
from shardrank.stages.rank.votes import votes_of
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.locate import (
    LOCATE_EXCLUDED,
    WANTED,
    Located,
    locate,
    write_wanted,
)
from shardrank.stages.shared.sample import Draw, sample
from shardrank.version.sizing import bucket_parts


def label(context: Context, plan: LabelPlan, overwrite: bool = False) -> Labelled:
    """Run the flow into the context's workspace, LABELS; what an earlier run finished is not done
    again.

    Raises:
        InputError: LABELS holds labels of another ranking, of other teachers or with other
            settings, which `overwrite` replaces; a teacher gives nothing finite; or no query gives
            a row.
        RunFailed: some units failed; rerun to resume.
    """
    claim_labels(context.workspace, _labelled_run(plan), plan.form, plan.run, overwrite)
    ranked, blocks = plan.ranked, plan.ranked.run.blocks
    stores = Stores(context.workspace, ranked.out, ranked.index)
    queries = [block.queries for block in blocks]
    tables = _judged_tables(plan)
    wanted = _wanted(tables, context.settings.label.min_grade)
    located = _located(context, plan, wanted)
    mined = mine(context, _mining(context, plan, tables, located))
    vectors = [block.vectors for block in blocks]
    bucket = _bucket(plan)
    found = gather(context, stores, ranked.version, vectors, mined, bucket)
    gathered = gathered_by_block(found, len(blocks))
    teachers = [
        _teach(context, plan, number, teacher, mined)
        for number, teacher in enumerate(plan.teachers, 1)
    ]
    scored = score(context, ranked.out, ScoreInputs(queries, mined, gathered, teachers))
    exported = export(
        context,
        ranked.out,
        plan.form,
        ExportInputs(queries, scored, gathered, plan.ignore_same_id),
    )
    absent = len(wanted) - total(located, "rows")
    return _delivered(context, plan, LabelledBatch(scored, exported, absent))


def _delivered(context: Context, plan: LabelPlan, batch: LabelledBatch) -> Labelled:
    """Write what lies beside the rows; the report last, which only people read."""
    from shardrank.flows.label_report import write_label_report  # brings jinja2

    manifest = deliver_labels(context, plan.form, batch.scored, batch.exported)
    write_label_report(context, plan, batch)
    return Labelled(context.workspace.storage.root, manifest, plan.unranked, batch.absent)


def _labelled_run(plan: LabelPlan) -> LabelledRun:
    """What LABELS/manifest.json says: whose scores these are."""
    return LabelledRun(
        run=plan.base,
        ranking=plan.ranked.run.run,
        index_version=plan.ranked.run.index_version,
        judgements=len(plan.judgements),
        teachers={t.name: t.card.fingerprint if t.card else None for t in plan.teachers},
    )


def _located(
    context: Context, plan: LabelPlan, wanted: list[dict[str, Any]]
) -> list[Done[Located]]:
    """Where the judged documents lie."""
    if not wanted:
        return []
    ref = _write(context, WANTED, pa.Table.from_pylist(wanted))
    return locate(context, plan.ranked.index, plan.ranked.version.parts, ref)


def _mining(
    context: Context, plan: LabelPlan, tables: Sequence[pa.Table], located: Sequence[Done[Located]]
) -> Mining:
    """Draw the pool; with what was located, mining needs nothing of the index."""
    settings, version = context.settings.label, plan.ranked.version
    pool: list[FileRef] = []
    if settings.random_negatives:
        drawn = Draw("pool", DENSE, POOL, settings.seed)
        pool = sample(context, version.parts, drawn, plan.ranked.index)
    return Mining(
        out=plan.ranked.out,
        blocks=plan.ranked.run.blocks,
        known=_held(plan),
        by_first=plan.ranked.run.by_first,
        bucket_parts=_bucket(plan),
        judged=[_write(context, "units/judged/{}.parquet", table) for table in tables],
        located=[done.made.located for done in located],
        pool=pool,
        excluded=_excluded(context, plan),
    )


def _excluded(context: Context, plan: LabelPlan) -> list[FileRef] | None:
    """Where the documents lie that the run's queries exclude; None: they exclude nothing."""
    ranked = plan.ranked
    if ranked.run.settings.search.exclude is None:
        return None
    tables = (ranked.out.read_table(block.queries, [EXCLUDED]) for block in ranked.run.blocks)
    named = named_documents([table[EXCLUDED] for table in tables])
    if not named:
        return None
    wanted = write_wanted(context.workspace, named)
    found = locate(context, ranked.index, ranked.version.parts, wanted, LOCATE_EXCLUDED)
    return [done.made.located for done in found]


def _bucket(plan: LabelPlan) -> int:
    """Parts whose candidates share a file."""
    return bucket_parts(len(plan.ranked.version.parts), plan.depth * len(plan.query_ids[0]))


def _wanted(tables: Sequence[pa.Table], min_grade: int) -> list[dict[str, Any]]:
    """Every judged document once, and whether it is a positive of some query."""
    best: dict[str, int] = {}
    for table in tables:
        for row in table.select(["doc_id", "grade"]).to_pylist():
            best[row["doc_id"]] = max(row["grade"], best.get(row["doc_id"], row["grade"]))
    return [{"doc_id": d, "positive": grade >= min_grade} for d, grade in sorted(best.items())]


def _judged_tables(plan: LabelPlan) -> list[pa.Table]:
    """JUDGED of each block."""
    place = {
        name: (block, number)
        for block, names in enumerate(plan.query_ids)
        for number, name in enumerate(names)
    }
    grades: list[dict[tuple[int, str], int]] = [{} for _ in plan.query_ids]
    for judgement in plan.judgements:
        if judgement.query_id in place:
            block, number = place[judgement.query_id]
            grades[block][number, judgement.doc_id] = judgement.relevance
    return [_judged_table(found) for found in grades]


def _judged_table(grades: Mapping[tuple[int, str], int]) -> pa.Table:
    rows = [{"query": q, "doc_id": d, "grade": g} for (q, d), g in sorted(grades.items())]
    return pa.Table.from_pylist(rows, schema=JUDGED)


def _write(context: Context, key: str, table: pa.Table) -> FileRef:
    return context.workspace.write_content(key, encode_table(table), table.num_rows)


def _teach(
    context: Context,
    plan: LabelPlan,
    number: int,
    teacher: TeacherPlan,
    mined: Sequence[Done[Mined]],
) -> Teacher:
    """A teacher's scores; of one of the run's own rerankers only those that the run did not
    compute."""
    none = ((),) * len(mined)
    reranker = teacher.reranker
    if reranker is None:
        encoder = plan.ranked.version.dense.card
        origin = {"fingerprint": encoder.fingerprint, "weights_sha256": encoder.weights_sha256}
        return Teacher(teacher.name, origin, none, none)
    known = teacher in _known(plan)
    at = _known(plan).index(teacher) if known else 0
    pairs = (done.made.lacking[at] if known else done.made.every for done in mined)
    names = [retriever.name for retriever in plan.ranked.run.retrievers]
    candidates = Candidates(
        blocks=[
            BlockCandidates(b.queries, p.buckets, p.pairs, votes_of(b.hits, b.lists, names))
            for b, p in zip(plan.ranked.run.blocks, pairs, strict=True)
        ],
        depth=reranker.settings.depth,
        bucket_parts=_bucket(plan),
        version=plan.ranked.version,
        index=plan.ranked.index,
        batch=plan.ranked.out,
    )
    stage = f"teacher-{number}"
    dones = rerank(context, candidates, reranker, stage)
    if not known:
        require_scores(context, reranker, dones, stage)
    card = reranker.card
    facts: dict[str, str | int] = {
        "model": card.name,
        "fingerprint": card.fingerprint,
        "weights_sha256": card.weights_sha256,
        "max_tokens": card.max_tokens,
        "dtype": card.dtype,
    }
    scores = tuple(scores_by_block(dones, len(mined)))
    held = tuple(each[at] for each in _held(plan)) if known else none
    return Teacher(teacher.name, facts, scores, held)


def _known(plan: LabelPlan) -> list[TeacherPlan]:
    """The teachers that the run has scores of already. Where a score hangs on the list that it was
    made in, it serves no more: the list is now another one."""
    return [each for each in plan.teachers if plan.step_of(each) is not None]


def _held(plan: LabelPlan) -> list[list[tuple[FileRef, ...]]]:
    """Of each block the files of scores of each of those."""
    steps = [step for step in map(plan.step_of, plan.teachers) if step is not None]
    return [[block.scores[step] for step in steps] for block in plan.ranked.run.blocks]
