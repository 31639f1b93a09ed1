"""shardrank tune: the fusion of several retrievers, or the fold of passages, and the reranker's
weight, by judgements."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from shardrank import api
from shardrank.api import FoldTuned, FusionTuned, Tuned
from shardrank.core.errors import InputError
from shardrank.core.evaluation import Coverage
from shardrank.core.fold_grid import Weights, fold_set
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.settings import Settings
from shardrank.jobs.console import console, error_console
from shardrank.report.sentences import uncounted

#: Fusions that are shown, the best first.
SHOWN = 10


@dataclass(frozen=True)
class TuneJob:
    """The command's arguments."""

    out: str
    qrels: str
    test: str | None
    metric: str
    to: Path | None


def run(job: TuneJob, settings: Settings) -> None:
    """Print what each choice gives, and write the best one."""
    if job.to and job.to.exists():
        raise InputError(f"{job.to} exists already.", "Name another file after --to.")
    with error_console().status("Weighing"):
        tuned = api.tune(job.out, job.qrels, test=job.test, metric=job.metric, settings=settings)
    if tuned.fusion:
        console().print(fusion_table(tuned.fusion))
        _say(said_of_fusion(tuned.fusion))
    if tuned.fold:
        console().print(fold_table(tuned.fold))
        _say(said_of_fold(tuned.fold))
    if tuned.before:
        console().print(weights_table(tuned))
        _say(said(tuned))
    _say(unranked(job.qrels, tuned.coverage))
    _say(unranked(job.test or "", tuned.test_coverage))
    if job.to:
        job.to.write_text(tuned.toml(), encoding="utf-8")
        console().print(f"Written to {job.to}.")


def unranked(qrels: str, coverage: Coverage | None) -> list[str]:
    """That a file judges queries which were not ranked."""
    return [f"{qrels}: {sentence}" for sentence in uncounted(coverage)]


def fusion_table(fusion: FusionTuned) -> Table:
    """A row for each retriever alone, and one for each of the best fusions and the run's own, on
    the judgements that it is chosen by."""
    names = [alone.retriever for alone in fusion.alone]
    table = Table("fusion", *names, *fusion.before.metrics, "", box=None)
    for alone in fusion.alone:
        table.add_row(f"{alone.retriever} alone", *("" for _ in names), *_figures(alone.metrics))
    first = fusion.best_first
    for tried in [*first[:SHOWN], *(each for each in first[SHOWN:] if each is fusion.before)]:
        weights = [f"{weight:g}" for weight in tried.fusion.weights or ()]
        notes = ((fusion.before, "as it was ranked"), (fusion.best, "best"))
        table.add_row(_way(tried.fusion), *weights, *_figures(tried.metrics), _marks(tried, *notes))
    return table


def said_of_fusion(fusion: FusionTuned) -> list[str]:
    """What the figures come to, a sentence each."""
    best, metric = fusion.best, fusion.metric
    lines = [f"Best of {len(fusion.tried)} fusions, by {metric} of retrieval: {_sets(best.fusion)}"]
    if fusion.enough:
        lines.append(
            f"{fusion.single.retriever} alone gives {fusion.single.metrics[metric]:.4f}, and no "
            "fusion of several more: name only it under [[retriever]], which is faster."
        )
    if held := fusion.held:
        figures = [held.before.metrics, held.after.metrics, held.single(fusion.single.retriever)]
        before, after, single = (f"{each[metric]:.4f}" for each in figures)
        lines.append(
            f"On the {held.queries:,} queries judged to test: {before} as it was ranked, {after} "
            f"with the best, {single} with {fusion.single.retriever} alone."
        )
        lines += _unfair(held.shared)
    return lines


def fold_table(fold: FoldTuned) -> Table:
    """A row for each of the best folds and the run's own, on the judgements to choose by."""
    table = Table("fold", *fold.before.metrics, "", box=None)
    first = fold.best_first
    for tried in [*first[:SHOWN], *(each for each in first[SHOWN:] if each is fold.before)]:
        notes = ((fold.before, "as it was ranked"), (fold.best, "best"))
        sets = _fold_sets(tried.weights)
        table.add_row(sets, *_figures(tried.metrics), _marks(tried, *notes))
    return table


def said_of_fold(fold: FoldTuned) -> list[str]:
    """What the figures come to, a sentence each."""
    best, metric = fold.best, fold.metric
    lines = [
        f"Best of {len(fold.tried)} folds, by {metric} of retrieval: "
        f"{' '.join(f'search.{each}' for each in _fold_sets(best.weights).split(' '))}"
    ]
    if held := fold.held:
        before, after = (f"{each.metrics[metric]:.4f}" for each in (held.before, held.after))
        lines.append(
            f"On the {held.queries:,} queries judged to test: {before} as it was ranked, {after} "
            "with the best."
        )
        lines += _unfair(held.shared)
    return lines


def _fold_sets(weights: Weights) -> str:
    """As after --set, each without its table."""
    given = {**fold_set(weights)}
    if "fold_weights" in given:
        given["fold_weights"] = ",".join(f"{weight:g}" for weight in weights)
    return " ".join(f"{name}={value}" for name, value in given.items())


def weights_table(tuned: Tuned) -> Table:
    """A row a weight, on the judgements that it is chosen by."""
    table = Table("reranker.interpolation", *tuned.retrieved, "", box=None)
    table.add_row("retrieved", *_figures(tuned.retrieved))
    for tried in tuned.tried:
        marks = _marks(tried, (tuned.before, "as it was ranked"), (tuned.best, "best"))
        table.add_row(f"{tried.interpolation:g}", *_figures(tried.metrics), marks)
    return table


def said(tuned: Tuned) -> list[str]:
    """What the figures of the weights come to, a sentence each."""
    best, metric = tuned.best, tuned.metric
    if best is None:
        return []
    lines = [f"Best: reranker.interpolation={best.interpolation:g}, by {metric}."]
    if best.metrics[metric] <= tuned.retrieved[metric]:
        lines.append("The reranker gains nothing here at any weight: reranker.model=off is faster.")
    if tuned.fusion and tuned.fusion.changed:
        lines.append(_of_another(tuned.fusion))
    elif tuned.reordered:
        lines.append(
            "These weights were measured with the fold that it was ranked with. The best fold "
            "gives other retrieval scores: rank with it, then tune again."
        )
    if held := tuned.held:
        figures = [held.retrieved, held.before.metrics, held.after.metrics]
        retrieved, before, after = (f"{each[metric]:.4f}" for each in figures)
        lines.append(
            f"On the {held.queries:,} queries judged to test: {retrieved} retrieved, {before} as "
            f"it was ranked, {after} with the best."
        )
        lines += _unfair(held.shared)
    return lines


def _of_another(fusion: FusionTuned) -> str:
    """That the weights were measured with a fusion that is no longer wanted."""
    documents = (
        f"reranks other documents for {fusion.moved:,} of the judged queries, and "
        if fusion.moved
        else ""
    )
    return (
        "These weights were measured with the fusion that it was ranked with. The best fusion "
        f"{documents}gives other retrieval scores: rank with it, then tune again."
    )


def _unfair(shared: int) -> list[str]:
    return [f"{shared:,} of them are those that it was chosen by: no fair test."] if shared else []


def _way(fusion: FusionSettings) -> str:
    return "rrf" if fusion.how == "rrf" else f"scores, {fusion.norm}"


def _sets(fusion: FusionSettings) -> str:
    """As after --set."""
    weights = ",".join(f"{weight:g}" for weight in fusion.weights or ())
    norm = f" fusion.norm={fusion.norm}" if fusion.how == "scores" else ""
    return f"fusion.how={fusion.how}{norm} fusion.weights={weights}"


def _marks(row: object, *notes: tuple[object, str]) -> str:
    return ", ".join(words for each, words in notes if each is row)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        console().print(line)


def _figures(metrics: Mapping[str, float]) -> list[str]:
    return [f"{value:.4f}" for value in metrics.values()]
