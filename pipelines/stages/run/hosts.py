"""A stage's steps, and who runs them: a host builds a worker once and hands it unit after unit.

Where hosts live is the executor's affair (`executor.py`).
"""

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from shardrank.core.errors import ShardrankError
from shardrank.core.pools import Pool
from shardrank.core.progress import heard_by
from shardrank.core.python_gc import collect_seldom
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run.workspace import Result, Workspace

Tables = Mapping[str, pa.Table]
#: A step's worker: (unit, tables of the step before) → tables for the next, or the result.
Worker = Callable[[Unit[Any], Tables], Tables | Result[Any]]


#: Is told a unit's id, and the share of it that is done.
Hears = Callable[[str, float], None]


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
    """A unit between two steps: what the last one gave, and when the first one began."""

    tables: Tables
    started: float


@dataclass(frozen=True)
class Hosting:
    """What a host is told: the stage and its step, where the last step finishes, and who
    hears how far a unit is."""

    stage: Stage[Any, Any]
    step: Step
    finish_in: Workspace | None
    hears: Hears


class Host:
    """Builds its worker once. A worker that cannot be built fails its units, in words, rather than
    the whole run."""

    def __init__(self, told: Hosting) -> None:
        collect_seldom()
        self.told = told
        self._broken: Exception | None = None
        try:
            self._worker = told.step.make()
        except Exception as error:
            self._broken = error

    def work(self, unit: Unit[Any], given: Underway) -> Underway | Done[Any] | Failure:
        """The unit after this step."""
        try:
            return self._work(unit, given)
        except Exception as error:
            return Failure.of(unit, error)

    def _work(self, unit: Unit[Any], given: Underway) -> Underway | Done[Any]:
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
    stage: Stage[Any, Any], steps: Sequence[Step], workspace: Workspace, hears: Hears
) -> list[Hosting]:
    """What the hosts of each step are told."""
    last = len(steps) - 1
    return [
        Hosting(stage, step, workspace if number == last else None, hears)
        for number, step in enumerate(steps)
    ]
