"""sweep and run_stage on Ray: what a failing unit, worker or actor does to the others."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.errors import InputError, RunFailed
from shardrank.core.files import FileRef
from shardrank.core.overrides import parse_settings
from shardrank.core.pools import ACTOR_CPUS, TASK_CPUS, Pool, Resources
from shardrank.core.settings import Settings
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run.hosts import Failure, Step, Tables
from shardrank.stages.run.on_ray import OnRay
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.watch import Watch
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.storage.local import LocalStorage

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]

POOL = Pool(1, ACTOR_CPUS, 0.0, "cpu")


@dataclass(frozen=True)
class Numbered:
    """A unit's number, and the rows that it makes."""

    number: int
    rows: int = 1


@dataclass(frozen=True)
class Written:
    """The table, and the process that wrote it."""

    table: FileRef
    process: int


TRY = Stage("try", Numbered, Written)


class Write:
    """A last step: writes the unit's number, or what came from the step before."""

    def __init__(self, workspace: Workspace, bad: Sequence[int] = ()) -> None:
        self._workspace = workspace
        self._bad = bad

    def __call__(self, unit: Unit[Numbered], tables: Tables) -> Result[Written]:
        if unit.spec.number in self._bad:
            raise ValueError(f"number {unit.spec.number} is bad")
        table = tables.get("made", pa.table({"number": [unit.spec.number]}))
        ref = self._workspace.write_table(f"made/{unit.id}.parquet", table)
        return Result(Written(ref, os.getpid()), {"rows": table.num_rows})


class Double:
    """A middle step: twice the number, `rows` times."""

    def __call__(self, unit: Unit[Numbered], tables: Tables) -> Tables:
        if "made" in tables:
            return {"made": tables["made"].append_column("again", tables["made"]["number"])}
        rows = unit.spec.rows
        return {"made": pa.table({"number": np.full(rows, 2 * unit.spec.number)})}


class Unbuildable:
    """A worker that cannot be built."""

    def __init__(self) -> None:
        raise InputError("There is no such model.", "Name another.")

    def __call__(self, unit: Unit[Numbered], tables: Tables) -> Tables:
        raise NotImplementedError


class Dying:
    """A worker whose process ends at unit 1: once where there is a flag file, else every time."""

    def __init__(self, workspace: Workspace, flag: Path | None) -> None:
        self._write = Write(workspace)
        self._flag = flag

    def __call__(self, unit: Unit[Numbered], tables: Tables) -> Result[Written]:
        if unit.spec.number == 1 and not (self._flag and self._flag.exists()):
            if self._flag:
                self._flag.write_text(str(os.getpid()))
            os._exit(1)
        return self._write(unit, tables)


class Meeting:
    """A middle step that waits until all units of the stage are being worked on."""

    def __init__(self, folder: Path, units: int) -> None:
        self._folder = folder
        self._units = units

    def __call__(self, unit: Unit[Numbered], tables: Tables) -> Tables:
        (self._folder / unit.id).touch()
        for _ in range(400):
            if len(list(self._folder.iterdir())) == self._units:
                return tables
            time.sleep(0.1)
        raise TimeoutError("the other units wait for this one")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(LocalStorage(str(tmp_path / "workspace")))


def units(count: int, rows: int = 1) -> list[Numbered]:
    return [Numbered(number, rows) for number in range(count)]


def named(specs: Sequence[Numbered]) -> list[Unit[Numbered]]:
    return [Unit(TRY.name, spec) for spec in specs]


def ids(specs: Sequence[Numbered]) -> list[str]:
    return [unit.id for unit in named(specs)]


def context(workspace: Workspace, retries: int = 1) -> Context:
    settings: Settings = parse_settings({"cluster": {"retries": retries}}, [])
    return Context(workspace, "run", settings, OnRay(Resources(2), retries), Watch(Silent()))


def numbers(workspace: Workspace, dones: Sequence[Done[Written]]) -> list[int]:
    tables = [workspace.read_table(done.made.table) for done in dones]
    return [int(table["number"][0].as_py()) for table in tables]


@pytest.mark.parametrize("pool", [None, POOL])
def test_a_failing_unit_stops_no_other_and_a_rerun_does_the_rest(
    workspace: Workspace, pool: Pool | None
) -> None:
    wanted = units(6)
    with pytest.raises(RunFailed, match="2 units of try failed") as raised:
        run_stage(context(workspace), TRY, wanted, [Step(partial(Write, workspace, (1, 4)), pool)])
    assert {ids(wanted)[n] for n in (1, 4)} == {u for u in ids(wanted) if u in raised.value.message}
    assert "number 1 is bad" in raised.value.message
    assert "number 4 is bad" in raised.value.message
    kept = workspace.find(TRY, named(wanted))
    assert set(kept) == {ids(wanted)[n] for n in (0, 2, 3, 5)}
    dones = run_stage(context(workspace), TRY, wanted, [Step(partial(Write, workspace), pool)])
    assert numbers(workspace, dones) == list(range(6))
    assert {d.unit: d for d in dones if d.unit in kept} == kept


def test_the_marker_follows_the_data(workspace: Workspace) -> None:
    wanted = units(2)
    dones = run_stage(context(workspace), TRY, wanted, [Step(partial(Write, workspace))])
    root = Path(workspace.storage.root)
    for done in dones:
        marker = root / f"units/try/{done.unit}.json"
        assert marker.stat().st_mtime_ns > (root / done.made.table.key).stat().st_mtime_ns
    (root / dones[0].made.table.key).unlink()
    assert set(workspace.find(TRY, named(wanted))) == {ids(wanted)[1]}


def test_bad_input_keeps_its_kind_and_its_words(workspace: Workspace) -> None:
    """A worker that cannot be built is a clear failure of all its units, and no hang."""
    steps = [Step(Unbuildable, POOL), Step(partial(Write, workspace))]
    outcomes = list(OnRay(Resources(2), 1).sweep(workspace, TRY, named(units(3)), steps))
    assert [type(outcome) for outcome in outcomes] == [Failure] * 3
    with pytest.raises(InputError, match=r"There is no such model\. .*Name another\."):
        run_stage(context(workspace), TRY, units(3), steps)
    assert workspace.find(TRY, named(units(3))) == {}


def test_an_actor_that_dies_is_replaced(workspace: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    step = Step(partial(Dying, workspace, flag), POOL)
    dones = run_stage(context(workspace), TRY, units(4), [step])
    assert numbers(workspace, dones) == list(range(4))
    # Whether unit 0 is done again depends on whether its row came back before the process died.
    assert dones[1].made.process != int(flag.read_text())


def test_as_many_units_as_actors_are_worked_on_at_once(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    meet = Step(partial(Meeting, tmp_path / "here", 2), replace(POOL, actors=2))
    steps = [Step(Double, cpus=TASK_CPUS), meet, Step(partial(Write, workspace), cpus=TASK_CPUS)]
    assert numbers(workspace, run_stage(context(workspace), TRY, units(2), steps)) == [0, 2]


def test_a_unit_that_always_kills_its_actor_ends_the_run(workspace: Workspace) -> None:
    step = Step(partial(Dying, workspace, None), POOL)
    with pytest.raises(RunFailed, match="Ray lost workers for good") as raised:
        run_stage(context(workspace, retries=1), TRY, units(3), [step])
    assert "Worker exit detail" in raised.value.message
    assert ids(units(3))[1] not in workspace.find(TRY, named(units(3)))


@pytest.mark.parametrize("pool", [None, POOL])
def test_what_workers_cannot_import_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, pool: Pool | None
) -> None:
    module = ModuleType("driver_alone")
    module.Worker = type("Worker", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(RunFailed, match="No module named 'driver_alone'") as raised:
        run_stage(context(workspace, retries=0), TRY, units(2), [Step(module.Worker, pool)])
    assert "run it again" not in raised.value.hint


@pytest.mark.parametrize(
    ("makers", "columns"),
    [
        ([Double], ["number"]),
        ([Double, Double], ["number", "again"]),
    ],
)
def test_steps_hand_tables_on(
    workspace: Workspace, makers: list[Callable[[], Any]], columns: list[str]
) -> None:
    pools = [None, POOL][-len(makers) :]
    steps = [Step(make, pool) for make, pool in zip(makers, pools, strict=True)]
    steps.append(Step(partial(Write, workspace)))
    dones = run_stage(context(workspace), TRY, units(3), steps)
    assert numbers(workspace, dones) == [0, 2, 4]
    assert workspace.read_table(dones[0].made.table).column_names == columns


def test_large_tables_pass(workspace: Workspace) -> None:
    rows = (20 << 20) // 8
    steps = [Step(Double), Step(partial(Write, workspace), POOL)]
    dones = run_stage(context(workspace), TRY, units(3, rows=rows), steps)
    assert [done.counts["rows"] for done in dones] == [rows] * 3
    assert numbers(workspace, dones) == [0, 2, 4]


def test_a_result_before_the_last_step_is_refused(workspace: Workspace) -> None:
    steps = [Step(partial(Write, workspace)), Step(Double)]
    with pytest.raises(RunFailed, match="only the last step may return a Result"):
        run_stage(context(workspace), TRY, units(1), steps)


def test_a_sweep_that_lost_nodes_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though Ray has no retry left for what was there."""
    flag = tmp_path / "died"
    lost = "shardrank.stages.run.nodes.lost_nodes"
    monkeypatch.setattr(lost, lambda: frozenset(["a node"] if flag.exists() else []))
    step = Step(partial(Dying, workspace, flag), POOL)
    dones = run_stage(context(workspace, retries=0), TRY, units(4), [step])
    assert numbers(workspace, dones) == list(range(4))
