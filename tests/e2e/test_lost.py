"""A sweep that ends early, as one on Ray has been seen to: no unit is forgotten."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.units import Unit
from pipelines.stages.workspace import Workspace
from tests import inline as here
from tests.world import make_world, shardrank

SETS = ("passages.part_size=10", "cluster.retries=4", "reranker.model=off")


def test_units_without_an_outcome_are_swept_again(
    inline: pytest.MonkeyPatch, models: tuple[Path, Path], tmp_path: Path
) -> None:
    world = make_world(tmp_path / "world", models, documents=40, queries=2)
    asked: list[int] = []

    def forgetful(workspace: Workspace, units: Sequence[Unit], *more: Any) -> Iterator[Any]:
        asked.append(len(units))
        yield from here.sweep(workspace, units[:1], *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.stages.runner.sweep", forgetful)
        assert shardrank(*world.index(tmp_path / "index", *SETS)) == 0
    assert max(asked) == 4  # the parts
    assert asked.count(1) >= 4


def test_a_sweep_without_any_outcome_ends_the_run(
    inline: pytest.MonkeyPatch,
    models: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = make_world(tmp_path / "world", models, documents=40, queries=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.stages.runner.sweep", lambda *everything: iter(()))
        assert shardrank(*world.index(tmp_path / "index", *SETS)) == 1
    assert "Ray gave no outcome for 1 of 1 units" in capsys.readouterr().err
