"""Sweeps that lose nodes, told by a stand-in for Ray Data; and workers with other code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayError

from shardrank.core.errors import PlanRefused
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run.code import own_code, refusal_of
from shardrank.stages.run.hosts import Ended, Failure, Host, Hosting, Step, Underway
from shardrank.stages.run.on_ray import LOSSES_IN_VAIN, _through_losses
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.storage import LocalStorage


@dataclass(frozen=True)
class Number:
    """A spec, and what is made of it."""

    value: int


STAGE = Stage("count", Number, Number)
UNITS = [Unit("count", Number(value)) for value in range(6)]


@dataclass
class Losing:
    """A sweep of which each attempt finishes some units, and then a node is lost."""

    finishes: list[int]
    stage: Stage[Any, Any] = STAGE
    swept: list[int] = field(default_factory=list)

    def over(self, units: Sequence[Unit[Any]]) -> Iterator[Ended]:
        self.swept.append(len(units))
        many = self.finishes.pop(0) if self.finishes else 0
        yield from (Ended(Done(unit.id, unit.spec), {}) for unit in units[:many])
        if many < len(units):
            raise RayError("a node is gone")


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.stages.run.nodes.lost_nodes", frozenset)
    monkeypatch.setattr("shardrank.stages.run.nodes.have_more_been_lost", lambda before: True)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(LocalStorage(str(tmp_path)))


def swept(sweep: Losing, workspace: Workspace) -> list[str]:
    return [each.outcome.unit for each in _through_losses(sweep, workspace, UNITS)]  # type: ignore[arg-type]


@pytest.mark.usefixtures("lossy")
def test_what_is_left_is_swept_again_until_all_is_done(workspace: Workspace) -> None:
    sweep = Losing([2, 0, 0, 1, 3])
    assert swept(sweep, workspace) == [unit.id for unit in UNITS]
    assert sweep.swept == [6, 4, 4, 4, 3]


@pytest.mark.usefixtures("lossy")
def test_losses_in_vain_end_it(workspace: Workspace) -> None:
    sweep = Losing([2])
    with pytest.raises(RayError, match="a node is gone"):
        swept(sweep, workspace)
    assert len(sweep.swept) == 1 + LOSSES_IN_VAIN + 1


@pytest.mark.usefixtures("lossy")
def test_what_was_finished_unheard_is_not_done_again(workspace: Workspace) -> None:
    workspace.finish(UNITS[5], Result(UNITS[5].spec, {}), 0.0)
    sweep = Losing([0, 5])
    assert sorted(swept(sweep, workspace)) == sorted(unit.id for unit in UNITS)
    assert sweep.swept == [6, 5]


def test_an_error_without_a_loss_is_believed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardrank.stages.run.nodes.lost_nodes", frozenset)
    monkeypatch.setattr("shardrank.stages.run.nodes.have_more_been_lost", lambda before: False)
    with pytest.raises(RayError):
        swept(Losing([3]), workspace)


def test_a_worker_with_other_code_does_no_work() -> None:
    assert refusal_of(own_code()) is None
    driver = replace(own_code(), sources="other")
    told = Hosting(
        STAGE, Step(lambda: pytest.fail("built")), None, print, lambda: refusal_of(driver)
    )
    ended = Host(told).work(UNITS[0], Underway({}, 0.0))
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Failure)
    assert ended.outcome.kind == PlanRefused.__name__
    assert "other sources of the same shardrank" in ended.outcome.message
