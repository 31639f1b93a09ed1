"""The label flow: a ranked run → locate → mine → gather → teachers → score → export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from shardrank.core.cards import RerankerCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.evaluation import Judgement
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import fingerprint
from shardrank.core.settings import LabelSettings, RerankerSettings, Settings
from shardrank.core.units import Done, total
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.qrels import read_judged
from shardrank.labels.formats import Format, get_format
from shardrank.labels.tables import JUDGED
from shardrank.models.cards import read_reranker_card
from shardrank.models.complete import check_reranker
from shardrank.stages.label.export import Exported, ExportInputs, export
from shardrank.stages.label.gather import Stores, gather
from shardrank.stages.label.mine import POOL, Mined, Mining, mine, mining_settings
from shardrank.stages.label.score import RETRIEVAL, ScoredBlock, ScoreInputs, Teacher, score
from shardrank.stages.rank.rerank_pairs import (
    BlockCandidates,
    Candidates,
    require_scores,
    rerank,
    scores_by_block,
)
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace, open_workspace
from shardrank.stages.shared.locate import WANTED, Located, locate
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
from shardrank.stages.shared.sample import Draw, sample
from shardrank.stages.shared.versions import read_version
from shardrank.storage import Sources
from shardrank.version.kept_settings import runs_in_bf16
from shardrank.version.manifest import DENSE, Version
from shardrank.version.sizing import bucket_parts

#: The run's own reranker, as label.teachers names it.
RERANKER = "reranker"
#: Every candidate is scored.
ALL = (1 << 31) - 1


@dataclass(frozen=True)
class TeacherPlan:
    """A teacher: a cross-encoder (its card and how it is loaded), or retrieval, without one."""

    name: str
    card: RerankerCard | None
    settings: RerankerSettings | None


@dataclass(frozen=True)
class OpenedRun:
    """A finished ranking: what it says of itself, where it lies, and the version it searched."""

    run: RankedRun
    out: Workspace
    index: Workspace
    version: Version


@dataclass(frozen=True)
class LabelPlan:
    """What a label run will read, with which teachers; known before any work, without Ray.

    `depth` documents of each query are candidates. `base` names what the scores depend on, `run`
    the rows of one format. With `ignore_same_id` the document with a query's id is the query.
    `unranked` counts judged queries that the run lacks.
    """

    ranked: OpenedRun
    form: Format
    query_ids: Sequence[Sequence[str]]
    judgements: Sequence[Judgement]
    teachers: Sequence[TeacherPlan]
    depth: int
    ignore_same_id: bool
    unranked: int
    base: str
    run: str

    @property
    def amount(self) -> Amount:
        """How much there is to do, about: all candidates by all teachers."""
        models = sum(teacher.card is not None for teacher in self.teachers)
        candidates = self.depth * sum(len(block) for block in self.query_ids)
        return Amount(0, self.ranked.version.live.passages, candidates * models)


@dataclass(frozen=True)
class Labelled:
    """What a label run leaves: the markers of its last stages, and how many of the judged documents
    the index does not hold."""

    mined: Sequence[Done[Mined]]
    scored: Sequence[Done[ScoredBlock]]
    exported: Sequence[Done[Exported]]
    absent: int


def plan_labelling(
    out: Workspace, format_name: str, qrels: str | None, index: str | None, settings: Settings
) -> LabelPlan:
    """Read the run's manifest, its version of the index, the judgements and the teachers' cards.

    Raises:
        InputError: OUT holds no finished run, its index or that version is gone, the judgements
            are of other queries, or the run was reranked by another model than `reranker` names.
        SettingsError: no such format, one that needs judgements, and there are none, or settings
            that do not suit it.
    """
    form = get_format(format_name)
    label = settings.label
    _refuse_contradictions(form, label, judged=qrels is not None)
    ranked = open_ranked(out, index, settings)
    _refuse_unnormalised(form, ranked.version)
    query_ids = [_query_ids(out, block.queries) for block in ranked.run.blocks]
    asked = [name for block in query_ids for name in block]
    judgements = read_judged(Sources(settings.s3).open, qrels, asked) if qrels else []
    teachers = plan_teachers(ranked, settings)
    base = fingerprint(
        {
            "run": ranked.run.run,
            "index": ranked.run.index_content,
            "judgements": sorted((j.query_id, j.doc_id, j.relevance) for j in judgements),
            "teachers": [[t.name, t.card.fingerprint if t.card else ""] for t in teachers],
            "ensemble": label.ensemble,
            "mining": mining_settings(label),
        }
    )
    same = settings.search.ignore_same_id or ranked.run.same_ids.ignored
    decided = {"format": form.name, "settings": label.deciding(), "ignore_same_id": same}
    run = fingerprint({"base": base, **decided})
    lacking = len({j.query_id for j in judgements}.difference(asked))
    return LabelPlan(
        ranked=ranked,
        form=form,
        query_ids=query_ids,
        judgements=judgements,
        teachers=teachers,
        depth=label.depth,
        ignore_same_id=same,
        unranked=lacking,
        base=base,
        run=run,
    )


def _refuse_contradictions(form: Format, label: LabelSettings, judged: bool) -> None:
    """Raise SettingsError where settings ask for what the format or the judgements cannot give."""
    if form.judged and label.positives == "qrels" and not judged:
        raise SettingsError(
            f"The format {form.name} needs positives.",
            "Give judgements with --qrels, or take what the teachers put first: "
            "--set label.positives=teacher.",
        )
    known = judged or label.positives == "teacher"
    lacking = {
        "label.batch_negatives": label.batch_negatives > 0 and not judged,
        "label.curriculum": label.curriculum != "none" and not known,
    }
    for name in (name for name, asked in lacking.items() if asked):
        raise SettingsError(f"{name} needs positives.", "Give judgements with --qrels.")
    if form.name == "tevatron" and (label.text, label.curriculum) != ("inline", "none"):
        raise SettingsError(
            "The format tevatron holds texts, and no weights.",
            "Leave out label.text and label.curriculum.",
        )


def _refuse_unnormalised(form: Format, version: Version) -> None:
    if form.name == "pseudo-pairs" and not version.dense.card.normalise:
        raise SettingsError(
            "The format pseudo-pairs takes the bi-encoder's cosine as a probability, and this "
            "index's encoder does not normalise: its scores are no cosines.",
            "Use pointwise, with label.teachers=retrieval.",
        )


def open_ranked(out: Workspace, index_path: str | None, settings: Settings) -> OpenedRun:
    """A finished rank run. Raises InputError where it, or what it searched, is not there.

    `index_path` says where the index lies if it has moved since.
    """
    root, run = out.storage.root, read_ranked(out)
    index = open_workspace(index_path or out.read_json("origin.json")["index"], settings)
    number = run.index_version
    try:
        version = read_version(index, number)
    except InputError as error:
        raise InputError(
            f"{root} was ranked over version {number} of {index.storage.root}, which is gone.",
            "If the index has moved, say where with --index; else rank again.",
        ) from error
    if fingerprint(version.content()) != run.index_content:
        raise InputError(
            f"{index.storage.root} is not the index that {root} was ranked over: its version "
            f"{number} has another content.",
            "Rank again over the index as it is.",
        )
    return OpenedRun(run, out, index, version)


def plan_teachers(ranked: OpenedRun, settings: Settings) -> list[TeacherPlan]:
    """Raises SettingsError where a teacher is named twice, and InputError as `plan_teacher`."""
    teachers = [plan_teacher(name, ranked, settings) for name in settings.label.teachers]
    names = [teacher.card.fingerprint if teacher.card else teacher.name for teacher in teachers]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise SettingsError(
                f"label.teachers names one model twice: {', '.join(settings.label.teachers)}.",
                "Name each once.",
            )
    return teachers


def plan_teacher(name: str, ranked: OpenedRun, settings: Settings) -> TeacherPlan:
    """A teacher by its name. Raises InputError where the run's own reranker is another one."""
    if name == RETRIEVAL:
        return TeacherPlan(name, None, None)
    if name in ("", "off", "none"):
        raise SettingsError(f"label.teachers names {name!r}, which is nobody.", "")
    if name != RERANKER:
        own = {"model": name, "revision": None, "trust_remote_code": False}
        named = settings.reranker.model_copy(update=own)
        return _plan_model(name, named, ranked.version)
    held, root = ranked.run.reranker, ranked.out.storage.root
    if held is None or settings.reranker.model == "off":
        raise InputError(
            f"{root} was not reranked, so that label.teachers = reranker names nobody.",
            "Name a cross-encoder, or retrieval: --set label.teachers=retrieval.",
        )
    plan = _plan_model(name, settings.reranker, ranked.version)
    if plan.card and plan.card.fingerprint != held:
        raise InputError(
            f"{root} was reranked by another model ({held}) than [reranker] names now "
            f"({plan.card.name}, {plan.card.fingerprint}): labels would mix two teachers.",
            "Give the [reranker] settings of that run, or rank again.",
        )
    return plan


def _plan_model(name: str, settings: RerankerSettings, version: Version) -> TeacherPlan:
    check_reranker(settings)
    card = read_reranker_card(settings, halve=runs_in_bf16(version))
    return TeacherPlan(name, card, settings)


def _query_ids(out: Workspace, ref: FileRef) -> list[str]:
    names: list[str] = out.read_table(ref, ["query_id"])["query_id"].to_pylist()
    return names


def label(context: Context, plan: LabelPlan) -> Labelled:
    """Run the flow; what an earlier run finished is not done again."""
    ranked, blocks = plan.ranked, plan.ranked.run.blocks
    stores = Stores(context.workspace, ranked.out, ranked.index)
    queries = [block.queries for block in blocks]
    tables = _judged_tables(plan)
    wanted = _wanted(tables, context.settings.label.min_grade)
    located = _located(context, plan, wanted)
    mined = mine(context, _mining(context, plan, tables, located))
    vectors = [block.vectors for block in blocks]
    bucket = _bucket(plan)
    gathered = gather(context, stores, ranked.version, vectors, mined, bucket)
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
    return Labelled(mined, scored, exported, len(wanted) - total(located, "rows"))


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
        pool = sample(
            context, version.parts, Draw("pool", DENSE, POOL, settings.seed), plan.ranked.index
        )
    return Mining(
        out=plan.ranked.out,
        blocks=plan.ranked.run.blocks,
        bucket_parts=_bucket(plan),
        judged=[_write(context, "units/judged/{}.parquet", table) for table in tables],
        located=[done.made.located for done in located],
        pool=pool,
    )


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
    """A teacher's scores; of the run's own reranker only those that the run did not compute."""
    if teacher.card is None or teacher.settings is None:
        encoder = plan.ranked.version.dense.card
        origin = {"fingerprint": encoder.fingerprint, "weights_sha256": encoder.weights_sha256}
        return Teacher(teacher.name, origin, ((),) * len(mined), known=False)
    known = teacher.card.fingerprint == plan.ranked.run.reranker
    pairs = (done.made.unscored if known else done.made.every for done in mined)
    both = zip(plan.ranked.run.blocks, pairs, strict=True)
    candidates = Candidates(
        blocks=[BlockCandidates(block.queries, p.buckets, p.pairs) for block, p in both],
        depth=ALL,
        bucket_parts=_bucket(plan),
        version=plan.ranked.version,
        index=plan.ranked.index,
        batch=plan.ranked.out,
    )
    settings = context.settings.model_copy(update={"reranker": teacher.settings})
    its, stage = replace(context, settings=settings), f"teacher-{number}"
    dones = rerank(its, candidates, teacher.card, stage)
    if not known:
        require_scores(its, teacher.card, dones, stage)
    card = teacher.card
    facts: dict[str, str | int] = {
        "model": card.name,
        "fingerprint": card.fingerprint,
        "weights_sha256": card.weights_sha256,
        "max_tokens": card.max_tokens,
        "dtype": card.dtype,
    }
    scores = tuple(scores_by_block(dones, len(mined)))
    return Teacher(teacher.name, facts, scores, known)
