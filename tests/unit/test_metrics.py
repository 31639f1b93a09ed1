"""What the meter tells Ray, on counters that only keep it; and what hosts say that they spent."""

from collections import defaultdict
from typing import Any

import pytest

from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.pools import Pool
from shardrank.core.tally import spend, take, together
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run import metrics
from shardrank.stages.run.hosts import Ended, Failure, Host, Hosting, Step, Underway
from shardrank.stages.run.metrics import Meter

Kept = dict[tuple[str, ...], float]
NOW = StageNow("embed", 8, 2, 4, 1.0, 200, 1, "broke", 0.0, 9.0, 7.5, False)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Values by name and tags, in place of Ray's."""
    values: Kept = defaultdict(float)

    class Fake:
        def __init__(self, name: str, says: str, tags: tuple[str, ...]) -> None:
            (name + says).encode("ascii")  # Ray takes no other letters
            self.name, self.tags, self.own = name, tags, dict[str, str]()

        def set_default_tags(self, own: dict[str, str]) -> None:
            self.own = own

        def key(self, tags: dict[str, str]) -> tuple[str, ...]:
            told = self.own | tags
            assert told.keys() == set(self.tags)
            assert all(value.isascii() for value in told.values())
            return (self.name.removeprefix("shardrank_"), *(told[tag] for tag in self.tags[2:]))

        def inc(self, much: float, tags: dict[str, str]) -> None:
            assert much > 0
            values[self.key(tags)] += much

        def set(self, value: float, tags: dict[str, str]) -> None:
            values[self.key(tags)] = value

    monkeypatch.setattr(metrics, "Counter", Fake)
    monkeypatch.setattr(metrics, "Gauge", Fake)
    return values


def test_a_unit_counts_once(kept: Kept) -> None:
    meter = Meter("index", "/data/ü")
    meter.started("embed", 8, 2)
    meter.advanced("embed", Done("a", None, {"rows": 100}))
    meter.advanced("embed", Done("b", None, {"rows": 100}))
    meter.failed("embed", Failure("c", "ValueError", "broke", "", ""))
    found = {key[1:]: value for key, value in kept.items() if key[0] == "units_total"}
    assert found == {("embed", "resumed"): 2, ("embed", "done"): 2, ("embed", "failed"): 1}
    assert kept["rows_total", "embed"] == 200


def test_what_was_spent(kept: Kept) -> None:
    meter = Meter("index", "")
    spent = {"busy:gpu": 2.0, "wait:gpu": 0.5, "load:gpu": 0.0, "tokens": 7.0, "truncated": 1.0}
    traffic = {"read:s3": 10.0, "written:local": 20.0, "retries:s3": 3.0}
    meter.spent("embed", {**spent, **traffic})
    meter.spent("embed", {**spent, **traffic})
    assert kept == {
        ("worker_busy_seconds_total", "embed", "gpu"): 4,
        ("worker_wait_seconds_total", "embed", "gpu"): 1,
        ("tokens_total", "embed"): 14,
        ("truncated_total", "embed"): 2,
        ("storage_read_bytes_total", "embed", "s3"): 20,
        ("storage_written_bytes_total", "embed", "local"): 40,
        ("storage_retries_total", "embed", "s3"): 6,
    }


def test_a_stage_and_the_end(kept: Kept) -> None:
    meter = Meter("index", "")
    meter.moved(NOW)
    assert kept["stage_progress_ratio", "embed"] == 5 / 8
    assert kept["stage_left_seconds", "embed"] == 7.5
    assert kept["stage_units", "embed", "failed"] == 1
    meter.rejected("scan", {"empty_text": 3})
    meter.rejected("scan", {"empty_text": 3})
    assert kept["rejected_rows", "scan", "empty_text"] == 3
    meter.ended(Outcome("published", 0, "", 4, {"dense": 0.96}))
    assert kept["runs_total", "published"] == 1
    assert (kept["version",], kept["recall_ratio", "dense"]) == (4, 0.96)
    # Nothing of it is underway any more.
    assert (kept["stage_progress_ratio", "embed"], kept["stage_left_seconds", "embed"]) == (1, 0)
    assert kept["stage_units", "embed", "failed"] == 0


def test_sums_are_taken_once() -> None:
    take()
    spend("tokens", 2)
    spend("tokens", 3)
    assert (take(), take()) == ({"tokens": 5}, {})
    assert together({"a": 1.0}, {"a": 2.0, "b": 1.0}) == {"a": 3.0, "b": 1.0}


def host(pool: Pool | None) -> Host:
    stage: Stage[Any, Any] = Stage("try", dict, dict)
    step = Step(lambda: _spending, pool)
    return Host(Hosting(stage, step, None, lambda unit, share: None, lambda: None))


def _spending(unit: Unit[Any], tables: Any) -> Any:
    spend("tokens", 5)
    if unit.spec == {"n": 1}:
        raise ValueError("no")
    return {}


def test_a_host_says_what_a_unit_took() -> None:
    take()
    one = host(Pool(actors=1, cpus=1.0, gpus=0.0, device="cpu"))
    first = one.work(Unit("try", {"n": 0}), Underway({}, 0.0, {"tokens": 1.0}))
    assert isinstance(first, Underway)
    assert first.spent["tokens"] == 6
    assert first.spent.keys() == {"tokens", "busy:cpu", "wait:cpu", "load:cpu"}
    second = one.work(Unit("try", {"n": 1}), Underway({}, 0.0))
    assert isinstance(second, Ended)
    assert second.spent["tokens"] == 5  # a failed unit took it, too
    assert "load:cpu" not in second.spent  # the worker was built once


def test_a_task_neither_waits_nor_loads() -> None:
    take()
    ended = host(None).work(Unit("try", {"n": 0}), Underway({}, 0.0))
    assert ended.spent.keys() == {"tokens", "busy:task"}
