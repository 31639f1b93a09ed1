"""What a label run reads, with which teachers, known before any work; and what it leaves."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from shardrank.core.cards import RerankerCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.evaluation import Judgement
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import fingerprint
from shardrank.core.reranker_settings import CrossSettings, RerankerSettings
from shardrank.core.settings import LabelSettings, Settings
from shardrank.core.units import Done
from shardrank.corpus.qrels import read_judged
from shardrank.flows.rerankers import plan_teacher_model
from shardrank.labels.formats import Format, get_format
from shardrank.stages.label.deliver_labels import LabelCounts, LabelManifest
from shardrank.stages.label.export import Exported
from shardrank.stages.label.mine import mining_settings
from shardrank.stages.label.score import RETRIEVAL, ScoredBlock
from shardrank.stages.rank.rerank_plan import PlannedReranker
from shardrank.stages.run.executors import Amount
from shardrank.stages.run.workspace import Workspace, open_workspace
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
from shardrank.stages.shared.versions import read_version
from shardrank.storage import Sources
from shardrank.version.manifest import Version

#: The run's own reranker, as label.teachers names it.
RERANKER = "reranker"


@dataclass(frozen=True)
class TeacherPlan:
    """A teacher: a reranker, or retrieval, without one."""

    name: str
    reranker: PlannedReranker | None

    @property
    def card(self) -> RerankerCard | None:
        """The reranker's."""
        return self.reranker.card if self.reranker else None


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

    def step_of(self, teacher: TeacherPlan) -> int | None:
        """Which of the run's rerankers the teacher is, counted from 0, where a score of theirs
        depends on no other passage; none: no such one."""
        cards = [card.fingerprint for card in self.ranked.run.rerankers if card.alone]
        if teacher.card is None or teacher.card.fingerprint not in cards:
            return None
        return [c.fingerprint for c in self.ranked.run.rerankers].index(teacher.card.fingerprint)

    @property
    def amount(self) -> Amount:
        """How much there is to do, about: all candidates by all teachers."""
        models = sum(teacher.card is not None for teacher in self.teachers)
        candidates = self.depth * sum(len(block) for block in self.query_ids)
        return Amount(0, self.ranked.version.live.passages, candidates * models)


@dataclass(frozen=True)
class LabelledBatch:
    """What the stages made: the markers of the last ones, and how many of the judged documents the
    index does not hold."""

    scored: Sequence[Done[ScoredBlock]]
    exported: Sequence[Done[Exported]]
    absent: int


@dataclass(frozen=True)
class Labelled:
    """What a label run leaves in LABELS.

    Attributes:
        labels: where.
        manifest: what LABELS/about/FORMAT/manifest.json says, such as the files of the rows.
        unranked: judged queries that were not ranked.
        absent: judged documents that the index does not hold.
    """

    labels: str
    manifest: LabelManifest
    unranked: int
    absent: int

    @property
    def run(self) -> str:
        """The run's name: that of its inputs and settings."""
        return self.manifest.run

    @property
    def counts(self) -> LabelCounts:
        """What became of queries, candidates and pairs."""
        return self.manifest.counts


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
    index = open_workspace(index_path or run.made.index, settings)
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
        return TeacherPlan(name, None)
    if name in ("", "off", "none"):
        raise SettingsError(f"label.teachers names {name!r}, which is nobody.", "")
    if name != RERANKER:
        return _plan_model(name, _named(name, settings), ranked.version, settings)
    held, root = ranked.run.reranker, ranked.out.storage.root
    if held is None or not settings.rerankers:
        raise InputError(
            f"{root} was not reranked, so that label.teachers = reranker names nobody.",
            "Name a cross-encoder, or retrieval: --set label.teachers=retrieval.",
        )
    plan = _plan_model(name, settings.rerankers[-1], ranked.version, settings)
    if plan.card and plan.card.fingerprint != held.fingerprint:
        raise InputError(
            f"{root} was reranked by another model ({held.name}, {held.fingerprint}) than "
            f"[reranker] names now ({plan.card.name}, {plan.card.fingerprint}): labels would mix "
            "two teachers.",
            "Give the [reranker] settings of that run, or rank again.",
        )
    return plan


def _named(name: str, settings: Settings) -> RerankerSettings:
    """The [[reranker]] that has this model, or is of this column; where none is, a cross-encoder of
    that name, which is run as the last cross-encoder is."""
    tables = [each for each in settings.reranker if each.called == name]
    if tables:
        return tables[-1]
    cross = [each for each in settings.reranker if isinstance(each, CrossSettings)]
    own = {"model": name, "revision": None, "trust_remote_code": False}
    return (cross or [CrossSettings()])[-1].model_copy(update=own)


def _plan_model(
    name: str, reranker: RerankerSettings, version: Version, settings: Settings
) -> TeacherPlan:
    return TeacherPlan(name, plan_teacher_model(reranker, version, settings))


def _query_ids(out: Workspace, ref: FileRef) -> list[str]:
    queries = out.read_table(ref, ["query_id", "text"])
    names: list[str] = queries["query_id"].to_pylist()
    bare = pc.index(queries["text"], "").as_py()
    if bare >= 0:
        raise InputError(
            f"The query {names[bare]!r} is a picture without text, of which no label is made.",
            "Rank queries of texts for labels.",
        )
    return names
