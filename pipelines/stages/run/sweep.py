"""Units through Ray Data: one unit is one row of one block, from the first step to the last.

A block of one row cannot be split, fused or reordered within, so what a unit computes does not
depend on Ray's block sizes, on the number of workers or on which of them gets it.
"""

import json
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from shardrank.core.errors import ShardrankError
from shardrank.core.papers import from_json, to_json
from shardrank.core.pools import Pool
from shardrank.core.python_gc import collect_seldom
from shardrank.core.units import Done, Made, Spec, Stage, Unit, done_json, read_done
from shardrank.stages.run.workspace import Result, Workspace

if TYPE_CHECKING:
    from ray.data import Dataset

Tables = Mapping[str, pa.Table]
#: A step's worker: (unit, tables of the step before) → tables for the next, or the result.
Worker = Callable[[Unit[Any], Tables], Tables | Result[Any]]


@dataclass(frozen=True)
class Step:
    """One step of a stage. `make` builds the worker where it runs: once an actor, or once a task.

    With a pool the step runs on actors, or on a task like them where there is but one unit;
    without, on tasks that hold `cpus` CPUs each: a whole one where the task computes, a fraction
    where it only reads or writes for a model.
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


def sweep(
    workspace: Workspace,
    stage: Stage[Spec, Made],
    units: Sequence[Unit[Spec]],
    steps: Sequence[Step],
    retries: int,
) -> Iterator[Done[Made] | Failure]:
    """Run the steps on every unit; yields outcomes as they come. One failure stops no other."""
    import ray.data  # a third of a second, for which no command waits before Ray starts

    rows = [_row(unit, started=0.0) for unit in units]
    dataset: Dataset = ray.data.from_arrow([pa.Table.from_pylist([row], _ROW) for row in rows])
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        host = Hosting(stage, step.make, workspace if last else None)
        dataset = _apply(dataset, host, _fitting(step, len(units)), len(units), retries)
    batches: Any = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for batch in batches:
        yield from (_outcome(stage, row) for row in batch.to_pylist())


def _fitting(step: Step, units: int) -> Step:
    """The step with no more actors than units: the others would only load a model."""
    if step.pool is None:
        return step
    return replace(step, pool=replace(step.pool, actors=min(step.pool.actors, units)))


def _in_flight(pool: Pool, units: int) -> int:
    """Units given to an actor at once. With many, the next is there when one is done; of few, the
    first actor to stand would get all, and the others none."""
    return 2 if units >= 8 * pool.actors else 1


def _serves_once(pool: Pool, units: int) -> bool:
    """Whether a task does as well as the pool: it runs in a process that there is already, which
    may have loaded the libraries. One that is done would keep a GPU's memory, though; and of tasks
    that are a whole pool's, Ray Data runs one after another, as it keeps CPUs for other steps."""
    return units == 1 and not pool.gpus


def _apply(dataset: "Dataset", host: "Hosting", step: Step, units: int, retries: int) -> "Dataset":
    from ray.data import ActorPoolStrategy  # see `sweep`

    common: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
    with warnings.catch_warnings():
        # Ray Data retries tasks and restarts actors for ever by default, which loops on a unit that
        # kills its process. The limits are only to be had by an argument that Ray drops in 2.64.
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        if step.pool is None or _serves_once(step.pool, units):
            cpus = step.pool.cpus if step.pool else step.cpus
            return dataset.map_batches(_Task(host), num_cpus=cpus, max_retries=retries, **common)
        return dataset.map_batches(
            _host_class(host),
            compute=ActorPoolStrategy(
                size=step.pool.actors, max_tasks_in_flight_per_actor=_in_flight(step.pool, units)
            ),
            num_cpus=step.pool.cpus,
            num_gpus=step.pool.gpus,
            max_restarts=retries,
            max_task_retries=retries,
            **common,
        )


@dataclass(frozen=True)
class Hosting:
    """What a host is told: the stage, how a worker is built, and where the last step finishes."""

    stage: Stage[Any, Any]
    make: Callable[[], Worker]
    finish_in: Workspace | None


class _Host:
    """An actor: builds its worker once. A worker that cannot be built fails its units, in words,
    rather than the whole dataset."""

    def __init__(self, told: Hosting) -> None:
        collect_seldom()
        self._told = told
        self._broken: Exception | None = None
        try:
            self._worker = told.make()
        except Exception as error:
            self._broken = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [self._one(row) for row in batch.to_pylist()]
        return pa.Table.from_pylist(rows, _ROW)

    def _one(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["failure"] is not None:
            return row
        spec = from_json(self._told.stage.spec, json.loads(row["spec"]))
        unit: Unit[Any] = Unit(self._told.stage.name, spec)
        try:
            return self._work(unit, row)
        except Exception as error:
            return _row(unit, failure=_describe(unit, error))

    def _work(self, unit: Unit[Any], row: dict[str, Any]) -> dict[str, Any]:
        if self._broken is not None:
            raise self._broken
        started = row["started"] or time.time()
        made = self._worker(unit, _unpack(row))
        if not isinstance(made, Result):
            return _row(unit, started=started, **_pack(made))
        if self._told.finish_in is None:
            raise TypeError(f"{unit.stage}: only the last step may return a Result")
        done = self._told.finish_in.finish(unit, made, started)
        return _row(unit, done=json.dumps(done_json(done)))


def _host_class(told: Hosting) -> type[_Host]:
    """A host that takes no arguments: Ray keeps an actor's arguments in the object store, and an
    actor that lost them cannot be restarted (ray issue 53727)."""

    class Host(_Host):
        def __init__(self) -> None:
            super().__init__(told)

    return Host


class _Task:
    """A CPU task: the same, with a worker built for each call."""

    def __init__(self, told: Hosting) -> None:
        self._told = told

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _Host(self._told)(batch)


_ROW = pa.schema(
    [
        pa.field("spec", pa.string()),
        pa.field("started", pa.float64()),
        pa.field("names", pa.list_(pa.string())),
        pa.field("tables", pa.list_(pa.large_binary())),
        pa.field("done", pa.string()),
        pa.field("failure", pa.string()),
    ]
)


def _row(unit: Unit[Any], **cells: Any) -> dict[str, Any]:
    return dict.fromkeys(_ROW.names) | {"spec": json.dumps(to_json(unit.spec))} | cells


def _pack(tables: Tables) -> dict[str, Any]:
    """Tables as Arrow IPC streams, so that a unit of any shape is one row."""
    return {"names": list(tables), "tables": [_to_ipc(table) for table in tables.values()]}


def _to_ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpack(row: dict[str, Any]) -> Tables:
    cells = zip(row["names"] or [], row["tables"] or [], strict=True)
    return {name: pa.ipc.open_stream(data).read_all() for name, data in cells}


def _describe(unit: Unit[Any], error: Exception) -> str:
    message, hint = f"{type(error).__name__}: {error}", ""
    if isinstance(error, ShardrankError):
        message, hint = error.message, error.hint
    failure = Failure(unit.id, type(error).__name__, message, hint, traceback.format_exc())
    return json.dumps(failure.__dict__)


def _outcome(stage: Stage[Any, Made], row: dict[str, Any]) -> Done[Made] | Failure:
    if row["failure"] is not None:
        return Failure(**json.loads(row["failure"]))
    return read_done(stage, json.loads(row["done"]))
