"""Units through Ray Data: one unit is one row of one block, from the first step to the last.

A block of one row cannot be split, fused or reordered within, so what a unit computes does not
depend on Ray's block sizes, on the number of workers or on which of them gets it.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from shardrank.core.papers import from_json, to_json
from shardrank.core.pools import Resources
from shardrank.core.units import Made, Spec, Stage, Unit, done_json, read_done
from shardrank.stages.run.hosts import (
    Ended,
    Failure,
    Host,
    Hosting,
    Step,
    Tables,
    Underway,
    hostings,
)
from shardrank.stages.run.ray_pools import fitting, grow_when_busy, serves_once, strategy
from shardrank.stages.run.reporter import Reporter
from shardrank.stages.run.workspace import Workspace

if TYPE_CHECKING:
    from ray.data import Dataset

    from shardrank.stages.run.shares import Board

#: Seconds in which a cluster's first nodes come, and load a model.
GROWS_WITHIN = 180.0
#: Sweeps in a row that lost nodes, and finished nothing, before Ray's error is believed.
LOSSES_IN_VAIN = 3


@dataclass(frozen=True)
class OnRay:
    """The Ray that this process is connected to (protocol: Executor)."""

    resources: Resources
    retries: int
    _boards: "list[Board]" = field(default_factory=list)
    _known: list[Mapping[str, bool]] = field(default_factory=list)
    _late: list[str] = field(default_factory=list)

    def shares(self) -> Mapping[str, float]:
        """See `Executor.shares`."""
        return {unit: share for board in self._boards for unit, share in board.read().items()}

    def news(self) -> list[str]:
        """See `Executor.news`."""
        from shardrank.stages.run.nodes import known_nodes, what_changed  # see `sweep`

        before, now = self._known[-1:], known_nodes()
        self._known[:] = [now]
        changed = what_changed(before[0], now) if before else []
        return [*changed, *self._waits()]

    def _waits(self) -> list[str]:
        """That nothing begins, once a sweep: a cluster that is to grow may not."""
        found = [] if self.resources.ready is None else self._boards
        late = [each for each in found if each.age > GROWS_WITHIN and each.sweep not in self._late]
        if not late or self.shares():
            return []
        self._late.extend(board.sweep for board in late)
        return [f"No unit tells of progress yet. The cluster had {self.resources.explain()}."]

    def meter(self, flow: str, index: str) -> Reporter:
        """See `Executor.meter`."""
        from shardrank.stages.run.metrics import Meter  # see `sweep`

        return Meter(flow, index)

    def sweep(
        self,
        workspace: Workspace,
        stage: Stage[Spec, Made],
        units: Sequence[Unit[Spec]],
        steps: Sequence[Step],
    ) -> Iterator[Ended]:
        """See `Executor.sweep`."""
        from ray.exceptions import RayError  # see `_rows`

        from shardrank.stages.run.code import own_code, refusal_of
        from shardrank.stages.run.losses import lost
        from shardrank.stages.run.shares import Board

        board = Board()
        self._boards.append(board)
        try:
            refuses = partial(refusal_of, own_code())
            hosts = hostings(stage, steps, workspace, board, refuses)
            sweep = _Sweep(stage, hosts, self.retries, _now(self.resources))
            yield from _through_losses(sweep, workspace, units)
        except RayError as error:
            raise lost(error) from error
        finally:
            self._boards.remove(board)
            board.clear()


def _now(resources: Resources) -> int:
    """CPUs that stand."""
    return int(resources.ready[0] if resources.ready else resources.cpus)


@dataclass(frozen=True)
class _Sweep:
    """What is done with each unit, on how many CPUs at first."""

    stage: Stage[Any, Any]
    hosts: Sequence[Hosting]
    retries: int
    cpus: int

    def over(self, units: Sequence[Unit[Any]]) -> Iterator[Ended]:
        """Run the steps on every unit; outcomes as they come. One failure stops no other."""
        import ray.data  # a third of a second, for which no command waits before Ray starts

        grow_when_busy()
        rows = [_row(unit, started=0.0, spent="{}") for unit in units]
        dataset: Dataset = ray.data.from_arrow([pa.Table.from_pylist([row], _ROW) for row in rows])
        steps = fitting([told.step for told in self.hosts], len(units), self.cpus)
        for told, step in zip(self.hosts, steps, strict=True):
            dataset = _apply(dataset, told, step, len(units), self.retries)
        batches: Any = dataset.iter_batches(
            batch_size=None, batch_format="pyarrow", prefetch_batches=0
        )
        for batch in batches:
            yield from (_outcome(self.stage, row) for row in batch.to_pylist())


def _through_losses(
    sweep: _Sweep, workspace: Workspace, units: Sequence[Unit[Any]]
) -> Iterator[Ended]:
    """The sweep; where Ray gives it up and nodes were lost meanwhile, another of what is left. Ray
    counts a lost node against the retries of what ran there, as if that had killed it. Where nodes
    are lost again and again and nothing is finished, a unit may be what ends them."""
    from ray.exceptions import RayError  # see `sweep`

    from shardrank.stages.run.nodes import have_more_been_lost, lost_nodes

    left, lost, in_vain = {unit.id: unit for unit in units}, lost_nodes(), 0
    while left:
        before = len(left)
        try:
            for ended in sweep.over(list(left.values())):
                left.pop(ended.outcome.unit, None)
                yield ended
            return
        except RayError:
            in_vain = in_vain + 1 if len(left) == before else 0
            if in_vain > LOSSES_IN_VAIN or not have_more_been_lost(lost):
                raise
            lost = lost_nodes()
        # What was finished, and whose word was lost with a node, is not done again.
        for done in workspace.find(sweep.stage, left.values()).values():
            left.pop(done.unit)
            yield Ended(done, {})


def _apply(dataset: "Dataset", host: Hosting, step: Step, units: int, retries: int) -> "Dataset":
    common: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
    with warnings.catch_warnings():
        # Ray Data retries tasks and restarts actors for ever by default, which loops on a unit that
        # kills its process. The limits are only to be had by an argument that Ray drops in 2.64.
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        if step.pool is None or serves_once(step.pool, units):
            cpus = step.pool.cpus if step.pool else step.cpus
            return dataset.map_batches(_Task(host), num_cpus=cpus, max_retries=retries, **common)
        return dataset.map_batches(
            _host_class(host),
            compute=strategy(step.pool, units),
            num_cpus=step.pool.cpus,
            num_gpus=step.pool.gpus,
            max_restarts=retries,
            max_task_retries=retries,
            **common,
        )


class _RowHost:
    """A host whose units come and go as rows."""

    def __init__(self, told: Hosting) -> None:
        self._host = Host(told)
        self._stage = told.stage

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = [self._one(row) for row in batch.to_pylist()]
        return pa.Table.from_pylist(rows, _ROW)

    def _one(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["failure"] is not None:
            return row
        spec = from_json(self._stage.spec, json.loads(row["spec"]))
        unit: Unit[Any] = Unit(self._stage.name, spec)
        given = Underway(_unpack(row), row["started"], json.loads(row["spent"]))
        after = self._host.work(unit, given)
        spent = json.dumps(after.spent)
        if isinstance(after, Underway):
            return _row(unit, started=after.started, spent=spent, **_pack(after.tables))
        if isinstance(after.outcome, Failure):
            return _row(unit, spent=spent, failure=after.outcome.json())
        return _row(unit, spent=spent, done=json.dumps(done_json(after.outcome)))


def _host_class(told: Hosting) -> type[_RowHost]:
    """A host that takes no arguments: Ray keeps an actor's arguments in the object store, and an
    actor that lost them cannot be restarted (ray issue 53727)."""

    class MadeHost(_RowHost):
        def __init__(self) -> None:
            super().__init__(told)

    return MadeHost


class _Task:
    """A CPU task: the same, with a worker built for each call."""

    def __init__(self, told: Hosting) -> None:
        self._told = told

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _RowHost(self._told)(batch)


_ROW = pa.schema(
    [
        pa.field("spec", pa.string()),
        pa.field("started", pa.float64()),
        pa.field("spent", pa.string()),
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


def _outcome(stage: Stage[Any, Made], row: dict[str, Any]) -> Ended:
    spent = json.loads(row["spent"])
    if row["failure"] is not None:
        return Ended(Failure(**json.loads(row["failure"])), spent)
    return Ended(read_done(stage, json.loads(row["done"])), spent)
