"""Which work runs in the command's own process, and which on Ray."""

import pytest

from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.executors import SMALL_SOURCE, Amount, runs_inline

MUCH, LITTLE = Amount(source=SMALL_SOURCE + 1), Amount(source=SMALL_SOURCE)


@pytest.mark.parametrize(
    ("executor", "amount", "cpus", "gpus", "address", "inline"),
    [
        ("auto", LITTLE, 64, 8, None, True),
        ("auto", LITTLE, 2, 0, "head:6379", False),
        ("auto", MUCH, 64, 0, None, False),
        ("auto", MUCH, 2, 0, None, True),
        ("auto", MUCH, 2, 0, "local", True),
        ("auto", MUCH, 2, 0, "head:6379", False),
        ("auto", MUCH, 3, 0, None, False),
        ("auto", MUCH, 2, 1, None, False),
        ("inline", MUCH, 64, 8, "head:6379", True),
        ("ray", LITTLE, 1, 0, None, False),
    ],
)
def test_where_work_runs(
    executor: str,
    amount: Amount,
    cpus: int,
    gpus: int,
    address: str | None,
    inline: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("shardrank.stages.run.executors.visible_gpus", lambda: gpus)
    monkeypatch.setattr("shardrank.stages.run.executors.usable_cpus", lambda: cpus)
    values = {"executor": executor, "address": address}
    assert runs_inline(ClusterSettings.model_validate(values), amount) == inline


def test_cpus_that_are_asked_for_count() -> None:
    settings = ClusterSettings(cpus=64, gpu="never", address="local")
    assert not runs_inline(settings, MUCH)
