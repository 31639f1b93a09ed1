"""What the commands do, as functions that return what came of it and print nothing.

    import shardrank
    shardrank.index("corpus.jsonl", "my/index")
    shardrank.rank("my/index", "queries.jsonl", "my/ranked")

Paths are folders or files here, or s3://. `settings` is a Settings, or the path of a TOML file;
`overrides`, such as `["search.k=10"]`, win over it. Errors are those of `shardrank.core.errors`:
the class says whether to mend the input, or to call again. See docs/api.md.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pyarrow as pa

from shardrank.core.errors import SettingsError
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.settings import Settings
from shardrank.core.source_files import Listing
from shardrank.corpus.changes import Mode
from shardrank.flows.compare import Compared, compare_runs
from shardrank.flows.evaluate import Evaluated, evaluate_run
from shardrank.flows.index import index as run_index
from shardrank.flows.index_plan import plan_indexing
from shardrank.flows.label import label as run_label
from shardrank.flows.label_plan import Labelled, plan_labelling
from shardrank.flows.options import load_settings
from shardrank.flows.outcomes import labelled_outcome, published_outcome, ranked_outcome
from shardrank.flows.rank import rank as run_rank
from shardrank.flows.rank_plan import Ranked, plan_ranking
from shardrank.flows.running import Asked, Command, announced, running
from shardrank.flows.tune import Ask, tune_run
from shardrank.flows.tuned import FusionTuned, Tuned
from shardrank.flows.upkeep import Past, history
from shardrank.models.notes import column_notes
from shardrank.models.rerankers.registry import reranker_notes
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.locks import held
from shardrank.stages.run.reporter import Reporter, Silent
from shardrank.stages.run.workspace import StoredTables, Workspace, open_workspace
from shardrank.stages.shared.places import Use, refuse_other_use
from shardrank.stages.shared.ranked_runs import read_ranked
from shardrank.stages.shared.versions import (
    Published,
    existing_version,
    open_version,
    version_numbers,
)
from shardrank.stages.shared.written_texts import written_texts
from shardrank.version.manifest import Changes, Version

__all__ = [
    "Compared",
    "Evaluated",
    "FusionTuned",
    "IndexVersion",
    "Indexed",
    "Labelled",
    "Outcome",
    "Past",
    "Ranked",
    "Reporter",
    "Settings",
    "Silent",
    "StageNow",
    "Tuned",
    "compare",
    "evaluate",
    "index",
    "label",
    "open_index",
    "rank",
    "read_rankings",
    "tune",
]

Place = str | os.PathLike[str]
Given = Settings | str | Path | None
SILENT = Silent()


@dataclass(frozen=True)
class Indexed:
    """What an index run leaves in INDEX.

    Attributes:
        published: the version, and whether it is new.
        listing: the files of the corpus that were read, and those left out.
        run: the run's name, by which runs/RUN/ holds what was rejected.
    """

    published: Published
    listing: Listing
    run: str

    @property
    def number(self) -> int:
        """Of the version that is the latest now."""
        return self.published.number

    @property
    def version(self) -> Version:
        """Its parts, shards, encoder, audit, and documents (`version.live`)."""
        return self.published.version

    @property
    def new(self) -> bool:
        """False: nothing changed, and the latest version stays."""
        return self.published.new

    @property
    def changes(self) -> Changes:
        """What became of the rows of this run's corpus."""
        return self.published.found.changes


@dataclass(frozen=True)
class IndexVersion:
    """A published version of an index: its number and what its manifest says."""

    index: Workspace
    number: int
    version: Version

    def history(self) -> list[Past]:
        """All versions of the index that are still there, oldest first."""
        return history(self.index)

    def written(self, column: str = "written") -> Iterator[pa.Table]:
        """The live passages with what a column of family written holds of each, a table a part:
        doc_id, passage, title, text, written (a list of strings).

        Raises:
            SettingsError: there is no such column of written texts.
            IntegrityError: while the tables are read: a file is damaged.
        """
        return written_texts(self.index, self.version, column)


def index(
    corpus: Place,
    index: Place,
    *,
    mode: Mode = "snapshot",
    settings: Given = None,
    overrides: Sequence[str] = (),
    reporter: Reporter = SILENT,
    wait: bool = False,
    verbose: bool = False,
    command: str | None = None,
) -> Indexed:
    """Build or update an index; a new version only if gate and audit let it pass.

    Args:
        corpus: file, folder or glob of documents.
        index: folder of the index; made where there is none.
        mode: "snapshot": the corpus is all there is; "upsert": documents that it lacks stay.
        settings: see the module.
        overrides: see the module.
        reporter: who is told of the stages' progress.
        wait: where another run holds the place, wait until it ends.
        verbose: show Ray's own messages.
        command: what the run's record and the version's manifest show as the command; default:
            this call.

    Raises:
        InputError, SettingsError, PlanRefused: nothing was made; mend what the message names.
        GateRefused, AuditRefused: nothing was published; readers keep the version before.
        RunFailed, CommitConflict: call again; what is finished is not done again.
        CommitStateUnknown: the version may have been published; `open_index` tells.
    """
    if mode not in get_args(Mode):
        raise SettingsError(f"There is no mode {mode!r}.", f"Known: {', '.join(get_args(Mode))}.")
    given, workspace = _opened(index, settings, overrides)
    source = os.fspath(corpus)
    said = command or _called("index", source, os.fspath(index))
    with announced(Command("index", said, workspace), given, reporter) as reporter:
        plan = plan_indexing(source, workspace, mode, given)
        for note in column_notes(plan.settings.encoder):
            reporter.noted(note)
        with index_lock(workspace, reporter.waits if wait else None) as waited:
            if waited or plan.parent != max(version_numbers(workspace), default=0):
                # Another run published between the plan and the lock, or took its time: build on
                # its version, from the files that there are now.
                plan = plan_indexing(source, workspace, mode, given)
            asked = Asked("index", said, workspace, plan.run, plan.settings, plan.amount, verbose)
            with running(asked, reporter) as context:
                published = run_index(context, plan)
                context.watch.ends(published_outcome(published))
    return Indexed(published, plan.source.listing, plan.run)


def rank(
    index: Place,
    queries: Place,
    out: Place,
    *,
    qrels: Place | None = None,
    overwrite: bool = False,
    settings: Given = None,
    overrides: Sequence[str] = (),
    reporter: Reporter = SILENT,
    wait: bool = False,
    verbose: bool = False,
    command: str | None = None,
) -> Ranked:
    """Search and rerank a batch of queries over the latest version of an index.

    Args:
        index: of `shardrank.index`.
        queries: file, folder or glob of queries.
        out: folder of the rankings, the metrics and the report.
        qrels: file of judgements, BEIR TSV or TREC.
        overwrite: replace another run's output in `out`.
        settings: see the module.
        overrides: see the module.
        reporter: who is told of the stages' progress.
        wait: where another run holds the place, wait until it ends.
        verbose: show Ray's own messages.
        command: what report and manifest show as the command; default: this call.

    Raises:
        InputError, SettingsError, PlanRefused, IntegrityError: mend what the message names.
        RunFailed, CommitConflict: call again; what is finished is not done again.
    """
    places = [os.fspath(path) for path in (index, queries, out)]
    given, searched = _opened(index, settings, overrides)
    judged = None if qrels is None else os.fspath(qrels)
    workspace, said = open_workspace(places[2], given), command or _called("rank", *places)
    with announced(Command("rank", said, workspace), given, reporter) as reporter:
        refuse_other_use(places[2], Use.OUT, given)
        plan = plan_ranking(searched, places[1], judged, given)
        for note in (note for each in plan.rerankers for note in reranker_notes(each.settings)):
            reporter.noted(note)
        meanwhile = "shardrank.report.page"
        with held(workspace, "lock", reporter.waits if wait else None) as waited:
            plan = plan_ranking(searched, places[1], judged, given) if waited else plan
            of_run = (workspace, plan.run, plan.settings, plan.amount)
            with running(Asked("rank", said, *of_run, verbose, meanwhile), reporter) as context:
                ranked = run_rank(context, plan, overwrite)
                context.watch.ends(ranked_outcome(ranked))
                return ranked


def label(
    out: Place,
    labels: Place,
    *,
    format: str,
    qrels: Place | None = None,
    index: Place | None = None,
    overwrite: bool = False,
    settings: Given = None,
    overrides: Sequence[str] = (),
    reporter: Reporter = SILENT,
    wait: bool = False,
    verbose: bool = False,
    command: str | None = None,
) -> Labelled:
    """Training labels for a student from a ranked run: teacher scores, hard negatives.

    Args:
        out: of `shardrank.rank`.
        labels: folder of the labels.
        format: a name in docs/labels.md.
        qrels: file of judgements, BEIR TSV or TREC.
        index: where the index lies, if it has moved since it was searched.
        overwrite: replace other labels in `labels`.
        settings: see the module.
        overrides: see the module.
        reporter: who is told of the stages' progress.
        wait: where another run holds the place, wait until it ends.
        verbose: show Ray's own messages.
        command: what report and manifest show as the command; default: this call.

    Raises:
        InputError, SettingsError, PlanRefused, IntegrityError: mend what the message names.
        RunFailed, CommitConflict: call again; what is finished is not done again.
    """
    places = [os.fspath(path) for path in (out, labels)]
    given, ranked = _opened(out, settings, overrides)
    judged, moved = (None if path is None else os.fspath(path) for path in (qrels, index))
    workspace, said = open_workspace(places[1], given), command or _called("label", *places)
    with announced(Command("label", said, workspace), given, reporter) as reporter:
        refuse_other_use(places[1], Use.LABELS, given)
        plan = plan_labelling(ranked, format, judged, moved, given)
        meanwhile = "shardrank.report.labels"
        with held(workspace, "runs/lock", reporter.waits if wait else None) as waited:
            plan = plan_labelling(ranked, format, judged, moved, given) if waited else plan
            of_run = (workspace, plan.run, given, plan.amount)
            with running(Asked("label", said, *of_run, verbose, meanwhile), reporter) as context:
                labelled = run_label(context, plan, overwrite)
                context.watch.ends(labelled_outcome(labelled))
                return labelled


def evaluate(
    out: Place, qrels: Place, *, settings: Given = None, overrides: Sequence[str] = ()
) -> Evaluated:
    """The metrics of the setting evaluate.metrics of the rankings in OUT; nothing in it changes.

    Raises:
        InputError: there is no finished ranking, no such file, or no query of both.
        IntegrityError: a file of the rankings is damaged.
    """
    given, ranked = _opened(out, settings, overrides)
    return evaluate_run(ranked, os.fspath(qrels), given)


def compare(
    first: Place,
    second: Place,
    *,
    qrels: Place | None = None,
    settings: Given = None,
    overrides: Sequence[str] = (),
) -> Compared:
    """Two rankings, query by query: how much alike they are, and with judgements whether one is
    better, by the metrics of the setting evaluate.metrics; nothing in them changes.

    Raises:
        InputError: there is no finished ranking, no such file, no query of both, or none of both
            that is judged.
        IntegrityError: a file of the rankings is damaged.
    """
    given, one = _opened(first, settings, overrides)
    other = open_workspace(os.fspath(second), given)
    return compare_runs(one, other, None if qrels is None else os.fspath(qrels), given)


def tune(
    out: Place,
    qrels: Place,
    *,
    test: Place | None = None,
    metric: str = "nDCG@10",
    settings: Given = None,
    overrides: Sequence[str] = (),
) -> Tuned:
    """The best fusion of OUT's retrievers, where there are several, and the best weight of its
    reranker, where there is one, by `qrels`, measured on `test`; nothing in OUT changes.

    Fusions are compared by what retrieval finds with them. Weights of the reranker are measured
    with the run's own fusion: documents that it did not rerank have no logit.

    Raises:
        SettingsError: the metric is unknown.
        InputError: there is no finished ranking, one of one retriever without a reranker, no such
            file, or no query of both.
        IntegrityError: a file of the rankings is damaged.
    """
    given, ranked = _opened(out, settings, overrides)
    ask = Ask(os.fspath(qrels), None if test is None else os.fspath(test), metric)
    return tune_run(ranked, ask, given)


def open_index(
    index: Place,
    number: int | None = None,
    *,
    settings: Given = None,
    overrides: Sequence[str] = (),
) -> IndexVersion:
    """The latest version of an index, or the one of that number, by its manifest alone.

    Raises:
        InputError: there is no such index or version.
        IntegrityError: its manifest is damaged.
    """
    _, workspace = _opened(index, settings, overrides)
    if number is not None:
        return IndexVersion(workspace, number, existing_version(workspace, number))
    found = open_version(workspace)
    return IndexVersion(workspace, found.number, found.version)


def read_rankings(
    out: Place, *, settings: Given = None, overrides: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """The rankings in OUT, a table a block of queries, each checked when it is reached.

    Columns: query_id, doc_id, passage, rank, score, retrieval_rank, retrieval_score, rerank_score
    (docs/files.md). A query is in one table only, its rows in the order of their ranks.
    `pyarrow.concat_tables(read_rankings(out))` is all of them.

    Raises:
        InputError: there is no finished ranking.
        IntegrityError: while the tables are read: a file is damaged.
    """
    _, workspace = _opened(out, settings, overrides)
    return iter(StoredTables(workspace, read_ranked(workspace).rankings))


def _opened(path: Place, settings: Given, overrides: Sequence[str]) -> tuple[Settings, Workspace]:
    given = load_settings(settings, overrides)
    return given, open_workspace(os.fspath(path), given)


def _called(name: str, *arguments: str) -> str:
    return f"shardrank.{name}({', '.join(map(repr, arguments))})"
