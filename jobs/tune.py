"""shardrank tune: the reranker's weight, by judgements."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from shardrank import api
from shardrank.api import Tuned
from shardrank.core.errors import InputError
from shardrank.core.evaluation import MEASURES
from shardrank.core.settings import Settings
from shardrank.jobs.console import console, error_console


@dataclass(frozen=True)
class TuneJob:
    """The command's arguments."""

    out: str
    qrels: str
    test: str | None
    metric: str
    to: Path | None


def run(job: TuneJob, settings: Settings) -> None:
    """Print what each weight gives, and write the best one."""
    if job.to and job.to.exists():
        raise InputError(f"{job.to} exists already.", "Name another file after --to.")
    with error_console().status("Weighing"):
        tuned = api.tune(job.out, job.qrels, test=job.test, metric=job.metric, settings=settings)
    console().print(weights_table(tuned))
    for line in said(tuned):
        console().print(line)
    if job.to:
        job.to.write_text(tuned.toml(), encoding="utf-8")
        console().print(f"Written to {job.to}.")


def weights_table(tuned: Tuned) -> Table:
    """A row a weight, on the judgements that it is chosen by."""
    table = Table("reranker.interpolation", *MEASURES, "", box=None)
    table.add_row("retrieved", *_figures(tuned.retrieved))
    for tried in tuned.tried:
        notes = ((tuned.before, "as it was ranked"), (tuned.best, "best"))
        marks = [words for each, words in notes if each is tried]
        table.add_row(f"{tried.interpolation:g}", *_figures(tried.metrics), ", ".join(marks))
    return table


def said(tuned: Tuned) -> list[str]:
    """What the figures come to, a sentence each."""
    best = tuned.best
    lines = [f"Best: reranker.interpolation={best.interpolation:g}, by {tuned.metric}."]
    if best.metrics[tuned.metric] <= tuned.retrieved[tuned.metric]:
        lines.append("The reranker gains nothing here at any weight: reranker.model=off is faster.")
    if held := tuned.held:
        figures = [held.retrieved, held.before.metrics, held.after.metrics]
        retrieved, before, after = (f"{each[tuned.metric]:.4f}" for each in figures)
        lines.append(
            f"On the {held.queries:,} queries judged to test: {retrieved} retrieved, {before} as "
            f"it was ranked, {after} with the best."
        )
        if held.shared:
            lines.append(f"{held.shared:,} of them are those that it was chosen by: no fair test.")
    return lines


def _figures(metrics: Mapping[str, float]) -> list[str]:
    return [f"{metrics[name]:.4f}" for name in MEASURES]
