"""An index stays in the type it was begun in, whatever machine a later run is planned on."""

import json
import shutil
from pathlib import Path

import pytest

from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.cards import read_reranker_card
from tests.late_models import late_model
from tests.tiny_models import tiny_encoder
from tests.world import World, latest, make_world, shardrank, versions, write_lines

TYPES = {True: "bf16", False: "fp32"}


@pytest.fixture
def world(tmp_path: Path, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path / "world", models, documents=60, queries=5)


def plan_on(machine: pytest.MonkeyPatch, multiplies: bool) -> None:
    for module in ("flows.index_dtype", "models.encoders.registry"):
        machine.setattr(f"shardrank.{module}.multiplies_bf16", lambda: multiplies)


def add_document(world: World) -> None:
    lines = Path(world.corpus).read_text().splitlines()
    write_lines(Path(world.corpus), [*lines, {"_id": "new", "text": "one more"}])


@pytest.mark.parametrize("first", [True, False])
def test_an_index_stays_in_its_first_type(
    first: bool, world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index, out, labels = tmp_path / "index", tmp_path / "out", tmp_path / "labels"
    plan_on(inline, first)
    assert shardrank(*world.index(index)) == 0
    assert latest(index).dense.card.dtype == TYPES[first]

    plan_on(inline, not first)
    add_document(world)
    assert shardrank(*world.index(index)) == 0
    version = latest(index)
    assert (version.dense.card.dtype, version.changes.embedded) == (TYPES[first], 1)

    assert shardrank(*world.rank(index, out)) == 0
    [card] = json.loads((out / "manifest.json").read_bytes())["rerankers"]
    held = card["fingerprint"]
    model = CrossSettings.model_validate({"model": str(world.reranker), "dtype": TYPES[first]})
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
    assert "encoder.dtype from bf16 to fp32" in " ".join(capsys.readouterr().err.split())
    assert list(versions(index)) == ["manifests/000001.json"]


def test_another_model_is_in_what_suits_the_machine(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index, other = tmp_path / "index", tiny_encoder(tmp_path / "other", "bert", dim=32)
    plan_on(inline, True)
    assert shardrank(*world.index(index, "encoder.dtype=int8")) == 0
    assert shardrank(*world.index(index)) == 0
    assert latest(index).dense.card.dtype == "int8"
    again = ("gate.reembed=true", f"encoder.model={other}")
    assert shardrank(*world.index(index, *again)) == 0
    assert latest(index).dense.card.dtype == "bf16"


def test_a_model_that_was_moved_is_the_same_one(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index, moved = tmp_path / "index", tmp_path / "moved"
    first, moved_model = tmp_path / "first", f"encoder.model={moved}"
    shutil.copytree(world.encoder, first)
    plan_on(inline, False)
    assert shardrank(*world.index(index, f"encoder.model={first}")) == 0
    first.rename(moved)
    plan_on(inline, True)
    assert shardrank(*world.rank(index, tmp_path / "out", moved_model)) == 0
    add_document(world)
    assert shardrank(*world.index(index, moved_model)) == 0
    version = latest(index)
    assert (version.dense.card.dtype, version.changes.embedded) == ("fp32", 1)


def test_a_first_run_goes_on_in_its_type_on_another_machine(
    world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    plan_on(inline, True)
    with inline.context() as patch:
        patch.setattr("shardrank.flows.index.assemble", _stop)
        assert shardrank(*world.index(index)) != 0
    embedded = units(index, "embed")
    plan_on(inline, False)
    assert shardrank(*world.index(index)) == 0
    assert latest(index).dense.card.dtype == "bf16"
    assert units(index, "embed") == embedded


@pytest.mark.parametrize("late", [False, True])
def test_a_further_column_goes_on_in_its_type_too(
    late: bool, world: World, tmp_path: Path, inline: pytest.MonkeyPatch
) -> None:
    """Before the first version that has it is published: of a new index, and of an old one."""
    index, made = tmp_path / "index", f"model={world.encoder}"
    if late:
        made = f"model={late_model(tmp_path / 'late', 'st-bert')}"
        further = ("encoder.more.family=late", f"encoder.more.{made}")
    else:
        further = (f"encoder.more.{made}",)
    sets = ("passages.max_tokens=24", *further)
    for old in (False, True):
        plan_on(inline, True)
        with inline.context() as patch:
            patch.setattr("shardrank.flows.index.assemble", _stop)
            assert shardrank(*world.index(index, *sets)) != 0
        embedded = units(index, "embed-more")
        plan_on(inline, False)
        assert shardrank(*world.index(index, *sets)) == 0
        assert latest(index).columns["more"].card.dtype == "bf16"
        assert units(index, "embed-more") == embedded
        index = tmp_path / "old"  # one without the column
        if not old:
            assert shardrank(*world.index(index, "passages.max_tokens=24")) == 0


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def units(index: Path, stage: str) -> set[str]:
    found = {path.name for path in (index / "units" / stage).glob("*.json")}
    assert found
    return found
