"""A stage's steps, and who runs them: a host builds a worker once and hands it unit after unit.

Where hosts live is the executor's affair (`executor.py`).
"""

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa

from shardrank.core.errors import ShardrankError
from shardrank.core.pools import Pool
from shardrank.core.progress import heard_by
from shardrank.core.python_gc import collect_seldom
from shardrank.core.tally import Spent, take, together
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run.workspace import Result, Workspace

Tables = Mapping[str, pa.Table]
#: A step's worker: (unit, tables of the step before) → tables for the next, or the result.
Worker = Callable[[Unit[Any], Tables], Tables | Result[Any]]


#: Is told a unit's id, and the share of it that is done.
Hears = Callable[[str, float], None]
#: Why the process in which it is called must do no work; None: it may.
Refuses = Callable[[], Exception | None]


@dataclass(frozen=True)
class Step:
    """One step of a stage. `make` builds the worker where it runs.

    With a pool the step is a model's, or a search's: as many workers as the pool has actors, each
    built once; without, the step is a task that holds `cpus` CPUs: a whole one where it computes, a
    fraction where it only reads or writes for a model.
    """

    make: Callable[[], Worker]
    pool: Pool | None = None
    cpus: float = 1.0


@dataclass(frozen=True)
class Failure:
    """Why a unit failed: the error's class, words and traceback."""

    unit: str
    kind: str
    message: str
    hint: str
    trace: str

    @classmethod
    def of(cls, unit: Unit[Any], error: Exception) -> "Failure":
        message, hint = f"{type(error).__name__}: {error}", ""
        if isinstance(error, ShardrankError):
            message, hint = error.message, error.hint
        return cls(unit.id, type(error).__name__, message, hint, traceback.format_exc())

    def json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Underway:
    """A unit between two steps: what the last one gave, when the first one began, and what was
    spent on it since."""

    tables: Tables
    started: float
    spent: Spent = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """A unit after its last step, or after the one that failed, and what was spent on it."""

    outcome: Done[Any] | Failure
    spent: Spent


@dataclass(frozen=True)
class Hosting:
    """What a host is told: the stage and its step, where the last step finishes, who hears how
    far a unit is, and why this process must not be one, if so."""

    stage: Stage[Any, Any]
    step: Step
    finish_in: Workspace | None
    hears: Hears
    refuses: Refuses


class Clock:
    """The seconds of one host: in which its worker was built, works, and waits for a unit.

    Only a pool's workers wait; what a task is built for is one unit, so it has no load of its own.
    """

    def __init__(self, step: Step) -> None:
        self._kind = "task" if step.pool is None else "gpu" if step.pool.gpus else "cpu"
        self._last, self._load, self._wait = time.monotonic(), 0.0, 0.0

    def built(self) -> None:
        """The worker stands."""
        self._load = self._lap()

    def begins(self) -> None:
        """A unit is there."""
        self._wait = self._lap()

    def ends(self) -> Spent:
        """The unit is done: the seconds since the one before."""
        seconds = {"busy": self._lap(), "wait": self._wait, "load": self._load}
        self._load = 0.0
        if self._kind == "task":
            return {"busy:task": sum(seconds.values())}
        return {f"{name}:{self._kind}": value for name, value in seconds.items() if value}

    def _lap(self) -> float:
        now = time.monotonic()
        lap, self._last = now - self._last, now
        return lap


class Host:
    """Builds its worker once. A worker that cannot be built fails its units, in words, rather than
    the whole run."""

    def __init__(self, told: Hosting) -> None:
        collect_seldom()
        self.told = told
        self._clock = Clock(told.step)
        self._broken = told.refuses()
        if self._broken is None:
            try:
                self._worker = told.step.make()
            except Exception as error:
                self._broken = error
        self._clock.built()

    def work(self, unit: Unit[Any], given: Underway) -> Underway | Ended:
        """The unit after this step."""
        self._clock.begins()
        try:
            made = self._work(unit, given)
        except Exception as error:
            made = Failure.of(unit, error)
        spent = together(together(given.spent, self._clock.ends()), take())
        return replace(made, spent=spent) if isinstance(made, Underway) else Ended(made, spent)

    def _work(self, unit: Unit[Any], given: Underway) -> Underway | Done[Any] | Failure:
        if self._broken is not None:
            raise self._broken
        started = given.started or time.time()
        with heard_by(partial(self.told.hears, unit.id)):
            made = self._worker(unit, given.tables)
        if not isinstance(made, Result):
            return Underway(made, started)
        if self.told.finish_in is None:
            raise TypeError(f"{unit.stage}: only the last step may return a Result")
        return self.told.finish_in.finish(unit, made, started)


def hostings(
    stage: Stage[Any, Any],
    steps: Sequence[Step],
    workspace: Workspace,
    hears: Hears,
    refuses: Refuses = lambda: None,
) -> list[Hosting]:
    """What the hosts of each step are told."""
    last = len(steps) - 1
    return [
        Hosting(stage, step, workspace if number == last else None, hears, refuses)
        for number, step in enumerate(steps)
    ]
