"""An index stays in the type it was begun in, whatever machine a later run is planned on."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.core.settings import RerankerSettings
from pipelines.core.version import Version
from pipelines.models.card import read_reranker_card
from pipelines.stages.publish import latest_version
from pipelines.stages.workspace import Workspace
from pipelines.storage.local import LocalStorage
from tests.world import World, make_world, shardrank, versions, write_lines

TYPES = {True: "bf16", False: "fp32"}


@pytest.fixture
def world(tmp_path: Path, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path / "world", models, documents=60, queries=5)


def plan_on(machine: pytest.MonkeyPatch, multiplies: bool) -> None:
    machine.setattr("pipelines.indexing.multiplies_bf16", lambda: multiplies)


def add_document(world: World) -> None:
    lines = Path(world.corpus).read_text().splitlines()
    write_lines(Path(world.corpus), [*lines, {"_id": "new", "text": "one more"}])


def latest(index: Path) -> Version:
    found = latest_version(Workspace(LocalStorage(str(index))))
    assert found
    return found.version


@pytest.mark.parametrize("first", [True, False])
def test_an_index_stays_in_its_first_type(
    first: bool, world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index, out, labels = tmp_path / "index", tmp_path / "out", tmp_path / "labels"
    plan_on(inline, first)
    assert shardrank(*world.index(index)) == 0
    assert latest(index).encoder["dtype"] == TYPES[first]

    plan_on(inline, not first)
    add_document(world)
    assert shardrank(*world.index(index)) == 0
    version = latest(index)
    assert (version.encoder["dtype"], version.changes["embedded"]) == (TYPES[first], 1)

    assert shardrank(*world.rank(index, out)) == 0
    held = json.loads((out / "manifest.json").read_bytes())["reranker"]
    model = RerankerSettings.model_validate({"model": str(world.reranker), "dtype": TYPES[first]})
    assert held == read_reranker_card(model).fingerprint

    reranker = f"reranker.model={world.reranker}"
    assert (
        shardrank("label", str(out), str(labels), "--format", "pointwise", "--set", reranker) == 0
    )


def test_a_type_that_is_asked_for_is_another_index(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "index"
    plan_on(inline, True)
    assert shardrank(*world.index(index)) == 0
    assert shardrank(*world.index(index, "encoder.dtype=fp32")) != 0
    assert "the encoder changed since version" in " ".join(capsys.readouterr().err.split())
    assert list(versions(index)) == ["manifests/000001.json"]


def test_another_model_is_in_what_suits_the_machine(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index, moved = tmp_path / "index", tmp_path / "encoder"
    plan_on(inline, True)
    assert shardrank(*world.index(index, "encoder.dtype=int8")) == 0
    assert shardrank(*world.index(index)) == 0
    assert latest(index).encoder["dtype"] == "int8"
    shutil.copytree(world.encoder, moved)
    again = ("gate.reembed=true", f"encoder.model={moved}")
    assert shardrank(*world.index(index, *again)) == 0
    assert latest(index).encoder["dtype"] == "bf16"
