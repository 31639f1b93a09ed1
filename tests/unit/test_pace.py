"""Time left, from what was seen of a stage; who is told of it, and of its end."""

import time

import pytest

from shardrank.core.errors import AuditRefused, GateRefused, InputError, RunFailed
from shardrank.core.outcomes import Outcome, outcome_of
from shardrank.core.pace import Pace, StageNow
from shardrank.core.progress import heard_by, tell
from shardrank.core.units import Done
from shardrank.stages.run.hosts import Failure
from shardrank.stages.run.nodes import what_changed
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.watch import Watch


def test_nothing_is_said_of_a_stage_that_has_done_nothing() -> None:
    assert Pace("embed", 8, 0, began=100.0).now(160.0).left is None


def test_what_starting_took_does_not_count_as_work() -> None:
    pace = Pace("embed", units=4, resumed=0, began=0.0)
    pace.move({"a": 0.1}, at=60.0)  # a minute until the model was there
    pace.move({"a": 0.6}, at=70.0)
    now = pace.now(70.0)
    assert now.share == pytest.approx(0.6)
    assert now.left == pytest.approx((4 - 0.6) * 10.0 / 0.5)


def test_a_finished_unit_is_counted_once_though_its_share_is_told_late() -> None:
    pace = Pace("embed", units=2, resumed=1, began=0.0)
    pace.move({"a": 0.5}, at=1.0)
    pace.finish("a", rows=7, at=2.0)
    pace.move({"a": 0.9}, at=3.0)
    now = pace.now(3.0)
    assert (now.done, now.share, now.rows, now.left) == (2, 0.0, 7, 0.0)


def test_failures_are_counted_and_the_first_is_kept() -> None:
    pace = Pace("rerank", units=3, resumed=0, began=0.0)
    pace.fail("a", "no room", at=1.0)
    pace.fail("b", "no time", at=2.0)
    assert (pace.now(2.0).failed, pace.now(2.0).trouble) == (2, "no room")


def test_of_one_moment_the_pace_is_that_since_the_start() -> None:
    pace = Pace("scan", units=10, resumed=0, began=0.0)
    pace.finish("a", rows=1, at=5.0)
    assert pace.now(5.0).left == pytest.approx(45.0)


def test_an_unheard_word_is_let_go_and_a_heard_one_is_not() -> None:
    heard: list[float] = []
    tell(0.5)
    with heard_by(heard.append):
        tell(0.75)
    tell(1.0)
    assert heard == [0.75]


@pytest.mark.parametrize(
    ("error", "ending", "code"),
    [
        (GateRefused("too many"), "refused", 3),
        (AuditRefused("too few"), "refused", 3),
        (InputError("no file"), "failed", 2),
        (RunFailed("lost"), "failed", 1),
        (KeyboardInterrupt(), "stopped", 130),
        (SystemExit(143), "stopped", 143),
        (ZeroDivisionError("oh"), "failed", 1),
    ],
)
def test_every_error_is_an_end(error: BaseException, ending: str, code: int) -> None:
    found = outcome_of(error)
    assert (found.ending, found.exit_code) == (ending, code)


class Told(Silent):
    def __init__(self) -> None:
        self.ends: list[Outcome] = []
        self.moves: list[StageNow] = []

    def moved(self, now: StageNow) -> None:
        self.moves.append(now)

    def ended(self, outcome: Outcome) -> None:
        self.ends.append(outcome)


def stopped(watch: Watch) -> None:
    with watch.watching(), watch.ending():
        watch.started("embed", 4, 1)
        watch.advanced("embed", Done("a", None))
        raise SystemExit(143)


def test_the_end_is_told_once_with_the_stage_at_hand() -> None:
    told = Told()
    watch = Watch(told)
    with pytest.raises(SystemExit):
        stopped(watch)
    assert [end.said for end in told.ends] == ["Told to stop. In embed, 2 of 4 units are finished."]


def test_a_run_without_an_error_ends_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.stages.run.watch.LOOK_EVERY", 0.02)
    told = Told()
    watch = Watch(told)
    with watch.watching():
        watch.follow(lambda: {"a": 0.25}, list)
        watch.started("embed", 2, 0)
        time.sleep(0.2)
        assert told.moves[-1].share == 0.25
        watch.failed("embed", Failure("a", "RunFailed", "lost", "", ""))
        watch.finished()
        watch.ends(Outcome("unchanged", 0, "It stays.", version=3))
    assert told.moves[-1].failed == 1
    assert [(end.ending, end.version) for end in told.ends] == [("unchanged", 3)]


def test_nodes_that_are_lost_or_come_are_told_once() -> None:
    before = {"10.0.0.1": True, "10.0.0.2": True, "10.0.0.4": False}
    now = {"10.0.0.1": True, "10.0.0.2": False, "10.0.0.3": True, "10.0.0.4": False}
    assert what_changed(before, now) == [
        "Node 10.0.0.2 was lost; what ran there is begun again elsewhere.",
        "Node 10.0.0.3 has come.",
    ]
    assert what_changed(now, now) == []
