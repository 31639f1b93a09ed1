"""What a person sees while a job runs: bars on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from shardrank.core.units import Done

#: Columns of output that goes to a file or a pipe.
WIDE = 120

#: Seconds between two lines of one stage where there is no terminal.
LINE_EVERY = 15.0


def console() -> Console:
    """Standard output; where it is no terminal, wide enough for every table."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(highlight=False, soft_wrap=True, markup=False, width=width)


def error_console() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def command_line() -> str:
    """What was typed, as reports show it."""
    return " ".join(["shardrank", *sys.argv[1:]])


class ConsoleReporter:
    """Progress of each stage: units done, rows a second, time left (protocol: Reporter)."""

    def __init__(self) -> None:
        self._console = error_console()
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._stage: _Stage | None = None

    def __enter__(self) -> "ConsoleReporter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stage is not None:
            self._bars.stop()

    def noted(self, sentence: str) -> None:
        self._console.print(f"note: {sentence}")

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._bars.start()  # not before: Ray holds standard error back while it starts
        task = self._bars.add_task(stage, total=units, completed=resumed, rate="")
        self._stage = _Stage(stage, task, units, resumed)

    def advanced(self, stage: str, done: Done[Any]) -> None:
        assert self._stage is not None
        self._stage.add(done)
        self._bars.update(self._stage.task, advance=1, rate=self._stage.rate())
        if not self._console.is_terminal and self._stage.due():
            self._console.print(self._stage.line())

    def finished(self, stage: str, seconds: float) -> None:
        assert self._stage is not None
        if not self._console.is_terminal:
            self._console.print(self._stage.line())


class _Stage:
    """One stage's running figures."""

    def __init__(self, name: str, task: TaskID, units: int, resumed: int) -> None:
        self.task = task
        self._name, self._units, self._done, self._resumed = name, units, resumed, resumed
        self._rows = 0
        self._began = self._spoke = time.monotonic()

    def add(self, done: Done[Any]) -> None:
        self._done += 1
        self._rows += done.counts.get("rows", 0)

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._spoke < LINE_EVERY or self._done == self._units:
            return False
        self._spoke = now
        return True

    def rate(self) -> str:
        return f"{self._rows / self._seconds():,.0f} rows/s"

    def line(self) -> str:
        seconds, fresh = self._seconds(), self._done - self._resumed
        parts = [f"{self._name:>9}  {self._done}/{self._units} units"]
        if self._resumed:
            parts.append(f"{self._resumed} done before")
        if fresh:
            parts.append(f"{self._rows:,} rows, {self.rate()}")
        parts.append(f"{seconds:.1f} s")
        if fresh and self._done < self._units:
            parts.append(f"{seconds / fresh * (self._units - self._done):.0f} s left")
        return "  ".join(parts)

    def _seconds(self) -> float:
        return max(1e-3, time.monotonic() - self._began)
