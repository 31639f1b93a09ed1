"""A command's log as JSON lines on standard error: [log] format = "json"."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self

from shardrank.core.errors import ShardrankError
from shardrank.core.evaluation import Metrics
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.tally import Spent, together
from shardrank.core.times import utc_moment
from shardrank.stages.run.hosts import Failure
from shardrank.stages.run.reporter import Silent

#: Seconds between two lines of one stage, also of the text log where there is no terminal.
LINE_EVERY = 60.0

Level = Literal["info", "warning", "error"]


def write(level: Level, event: str, **figures: Any) -> None:
    """One line: a time in RFC 3339, the level, the event, and its figures."""
    line = json.dumps({"time": utc_moment(), "level": level, "event": event, **figures})
    print(line, file=sys.stderr, flush=True)


def write_error(error: ShardrankError) -> None:
    """Why the command ends."""
    write("error", "error", said=error.message, hint=error.hint, exit_code=error.exit_code)


class Log(Silent):
    """A command's log: knows how its run ended while the context lasts, or where an error ended
    it."""

    outcome: Outcome | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.outcome = self.outcome if error else None

    def ended(self, outcome: Outcome) -> None:
        self.outcome = outcome


class JsonReporter(Log):
    """A line for each event, a stage and a minute of a stage (protocol: Reporter)."""

    def __init__(self) -> None:
        self._run: dict[str, str] = {}
        self._spent: dict[str, Spent] = {}
        self._spoke = 0.0

    def noted(self, sentence: str) -> None:
        self._say("warning", "note", said=sentence)

    def named(self, flow: str, run: str) -> None:
        self._run = {"flow": flow, "run": run}
        self._say("info", "run")

    def waits(self, sentence: str) -> None:
        self._say("info", "waits", said=sentence)

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._spoke = time.monotonic()
        self._say("info", "stage began", stage=stage, units=units, resumed=resumed)

    def failed(self, stage: str, failure: Failure) -> None:
        told = {"unit": failure.unit, "error": failure.kind, "said": failure.message}
        self._say("warning", "unit failed", stage=stage, **told)

    def spent(self, stage: str, spent: Spent) -> None:
        self._spent[stage] = together(self._spent.get(stage, {}), spent)

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None:
        if reasons:
            self._say("warning", "rows set aside", stage=stage, reasons=dict(reasons))

    def moved(self, now: StageNow) -> None:
        if time.monotonic() - self._spoke > LINE_EVERY:
            self._spoke = time.monotonic()
            self._say("info", "stage", **_figures(now))

    def finished(self, now: StageNow) -> None:
        spent = {name: round(much, 3) for name, much in self._spent.pop(now.stage, {}).items()}
        level: Level = "warning" if now.failed else "info"
        self._say(level, "stage ended", **_figures(now), spent=spent)

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        told = asdict(outcome)
        level: Level = "info" if outcome.exit_code == 0 else "error"
        self._say(level, told.pop("ending"), **told)

    def close(self, lines: Sequence[str]) -> None:
        """The closing summary."""
        self._say("info", "summary", lines=[*lines])

    def measured(self, metrics: Metrics, notes: Sequence[str]) -> None:
        """What judgements say of a ranking."""
        self._say("info", "metrics", metrics=metrics, notes=[*notes])

    def _say(self, level: Level, event: str, **figures: Any) -> None:
        write(level, event, **self._run, **figures)


def _figures(now: StageNow) -> dict[str, Any]:
    told = asdict(now)
    del told["began"], told["over"]
    return told | {"rows_per_second": round(now.rate, 1)}
