"""shardrank status: how far the newest runs are or how they ended, from the files alone."""

import time

from rich.table import Table

from shardrank.core.errors import InputError
from shardrank.core.pace import StageNow
from shardrank.core.settings import Settings
from shardrank.core.times import clock
from shardrank.jobs.console import console
from shardrank.report.figures import coarse
from shardrank.stages.run.records import RunRecord, newest_runs
from shardrank.stages.run.workspace import open_workspace


def run(path: str, runs: int, settings: Settings) -> None:
    """Print the newest runs under PATH, the newest last: a listing and a small file for each."""
    workspace = open_workspace(path, settings)
    records = newest_runs(workspace, runs)
    if not records:
        raise InputError(f"{path} holds no run.", "Give an INDEX, an OUT or a LABELS.")
    for record in reversed(records):
        for line in about(record, time.time()):
            console().print(line)
        if record.stages:
            console().print(_table(record.stages))
    versions = [entry.key for entry in workspace.storage.list("manifests")]
    if versions:
        console().print(f"Latest version: {versions[-1]}")


def about(record: RunRecord, now: float) -> list[str]:
    """What a run is and how it goes, in a few lines.

    Args:
        record: of the run.
        now: seconds since 1970.
    """
    job = f", job {record.job}" if record.job else ""
    return [
        f"Run {record.run} of {record.flow}, begun {clock(record.began)} UTC by {record.by}{job}:",
        f"  {record.command}",
        f"  {_state(record, now)}",
        *_troubles(record),
    ]


def _state(record: RunRecord, now: float) -> str:
    if record.outcome is not None:
        said = f" {record.outcome.said}" if record.outcome.said else ""
        code = record.outcome.exit_code
        return f"{record.outcome.ending} {clock(record.beat)} UTC, exit code {code}.{said}"
    if record.ending(now) == "cut off":
        silent = coarse(now - record.beat)
        return f"cut off: no sign of life for {silent}. The same command goes on where it ended."
    if record.waits or not record.stages:
        return f"runs. {record.waits}".rstrip()
    stage = record.stages[-1]
    left = "" if stage.left is None else f"; {coarse(stage.left)} left of this stage"
    return f"runs, in {stage.stage}, {_percent(stage)}{left}."


def _troubles(record: RunRecord) -> list[str]:
    failed = [stage for stage in record.stages if stage.failed]
    return [f"  {each.failed:,} units of {each.stage} failed: {each.trouble}" for each in failed]


def _table(stages: tuple[StageNow, ...]) -> Table:
    table = Table(box=None)
    for name in ("stage", "done", "units", "before", "rows", "rows/s", "time", "left"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in stages:
        done = f"{stage.done:,}" if stage.over else f"{stage.done:,} ({_percent(stage)})"
        rate = f"{stage.rate:,.0f}" if stage.rows else ""
        left = "" if stage.over or stage.left is None else coarse(stage.left)
        counts = (done, f"{stage.units:,}", f"{stage.resumed:,}", f"{stage.rows:,}")
        table.add_row(stage.stage, *counts, rate, f"{stage.seconds:.1f} s", left)
    return table


def _percent(stage: StageNow) -> str:
    return f"{(stage.done + stage.share) / max(1, stage.units):.0%}"
