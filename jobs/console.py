"""What a person sees while a job runs: bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from shardrank.core.errors import ShardrankError
from shardrank.core.evaluation import Metrics
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.settings import Settings
from shardrank.jobs.json_log import LINE_EVERY, JsonReporter, Log, write_error
from shardrank.report.figures import coarse
from shardrank.stages.run.hosts import Failure

#: Columns of output that goes to a file or a pipe.
WIDE = 120


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for every table."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(highlight=False, soft_wrap=True, markup=False, width=width)


def error_console() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def reporter_of(settings: Settings) -> "ConsoleReporter | JsonReporter":
    """Who tells the user of a run, as [log] says; of the command's end, too."""
    _log.format = settings.log.format
    reporter = JsonReporter() if settings.log.format == "json" else ConsoleReporter()
    _log.reporter = reporter
    return reporter


def say_error(error: ShardrankError) -> None:
    """Why the command ends, in the log's format."""
    if _log.format == "json":
        write_error(error)
        return
    error_console().print("error:", style="bold red", end=" ")
    error_console().print(error.message)
    if error.hint:
        error_console().print(error.hint)


def say_stopped(code: int) -> int:
    """That a signal ends the command; the log in JSON has said so. Returns the exit code: the run's
    own, where it had ended and the signal came while hooks were told of it."""
    outcome = _log.reporter.outcome if _log.reporter else None
    if outcome is not None and outcome.ending != "stopped":
        if _log.format == "text":
            error_console().print(f"Stopped after the run had ended: {outcome.said}")
        return outcome.exit_code
    if _log.format == "text":
        error_console().print("Stopped. Finished units are kept; run it again to go on.")
    return code


def command_line() -> str:
    """What was typed, as reports show it."""
    return " ".join(["shardrank", *sys.argv[1:]])


class _Log:
    """This process's log: settings are read by the command, its end is told by main."""

    format = "text"
    reporter: "ConsoleReporter | JsonReporter | None" = None


_log = _Log()


class ConsoleReporter(Log):
    """Progress of each stage: units done, rows a second, time left (protocol: Reporter)."""

    def __init__(self) -> None:
        self._console = error_console()
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[units]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[times]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._spoke = 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
        super().__exit__(kind, error, trace)

    def noted(self, sentence: str) -> None:
        self._console.print(f"note: {sentence}")

    def waits(self, sentence: str) -> None:
        self._console.print(sentence)

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._bars.start()  # not before: Ray holds standard error back while it starts
        self._task = self._bars.add_task(stage, total=units, units="", rate="", times="")
        self._spoke = time.monotonic()

    def failed(self, stage: str, failure: Failure) -> None:
        self._console.print(f"{stage}: unit {failure.unit} failed: {failure.message}")

    def moved(self, now: StageNow) -> None:
        self._draw(now)
        if not self._console.is_terminal and time.monotonic() - self._spoke > LINE_EVERY:
            self._spoke = time.monotonic()
            self._console.print(stage_line(now))

    def finished(self, now: StageNow) -> None:
        self._draw(now)
        if not self._console.is_terminal:
            self._console.print(stage_line(now))

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        self._bars.stop()
        if outcome.ending == "stopped":
            self._console.print(outcome.said)

    def close(self, lines: Sequence[str]) -> None:
        """The closing summary, on standard output."""
        for line in lines:
            console().print(line)

    def measured(self, metrics: Metrics, notes: Sequence[str]) -> None:
        """What judgements say of a ranking."""
        console().print(metrics_table(metrics))
        self.close(notes)

    def _draw(self, now: StageNow) -> None:
        assert self._task is not None
        self._bars.update(
            self._task,
            completed=now.units if now.over else now.done + now.share,
            units=f"{now.done}/{now.units}",
            rate=f"{now.rate:,.0f} rows/s" if now.rows else "",
            times=_times(now),
        )


def metrics_table(metrics: Metrics) -> Table:
    """Metrics before and after reranking, side by side."""
    table = Table("", *metrics, box=None)
    for name in metrics["retrieved"]:
        table.add_row(name, *(f"{values[name]:.4f}" for values in metrics.values()))
    return table


def stage_line(now: StageNow) -> str:
    """A stage in a line: units, rows, seconds, and what is left."""
    parts = [f"{now.stage:>9}  {now.done}/{now.units} units"]
    if now.resumed:
        parts.append(f"{now.resumed} done before")
    if not now.over and now.share:
        parts.append(f"{(now.done + now.share) / now.units:.0%}")
    if now.rows:
        parts.append(f"{now.rows:,} rows, {now.rate:,.0f} rows/s")
    if now.failed:
        parts.append(f"{now.failed} failed")
    return "  ".join([*parts, _times(now)])


def _times(now: StageNow) -> str:
    spent = f"{now.seconds:.1f} s"
    return spent if now.over or now.left is None else f"{spent}  {coarse(now.left)} left"
