"""Whole rankings by the code that a GPU runs, on torch's CPU; and a GPU that is not there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardrank.core.pools import Pool, plan_search
from tests.world import World, make_world, shardrank

LISTS = ("index.kind=ivfsq8", "index.nlist=4", "audit.target=0", "passages.max_tokens=16")
KINDS = {"exact": (), "lists": LISTS}


@pytest.fixture
def world(tmp_path: Path, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path / "world", models, documents=400, queries=9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ranking_is_the_same_on_any_device(
    kind: str, world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    assert shardrank(*world.index(index, *KINDS[kind])) == 0
    assert shardrank(*world.rank(index, tmp_path / "cpu")) == 0
    asked = []

    def on_torch(*given: Any) -> Pool:
        asked.append(given)
        return replace(plan_search(*given), device="cpu:0")

    inline.setattr("shardrank.stages.run.runner.plan_search", on_torch)
    assert shardrank(*world.rank(index, tmp_path / "torch")) == 0
    assert asked
    cpu, torch = (sorted((tmp_path / name / "rankings").iterdir()) for name in ("cpu", "torch"))
    assert [each.name for each in cpu] == [each.name for each in torch]
    assert [each.read_bytes() for each in cpu] == [each.read_bytes() for each in torch]


def test_a_gpu_that_is_not_there_is_refused_before_any_work(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "index"
    inline.setattr("shardrank.stages.run.inline.visible_gpus", lambda: 0)
    assert shardrank(*world.index(index)) == 0
    assert shardrank(*world.rank(index, tmp_path / "out", "search.device=gpu")) == 2
    assert "search.device = gpu, but the cluster has" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "units").exists()
