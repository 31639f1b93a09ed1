"""Another encoder takes over on Ray: the map that serves old documents, what it makes of their
vectors, and what is embedded, are the same bytes with any number of actors."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.test_backfill import BACKFILL, DOCUMENTS, SETS
from tests.inline import installed
from tests.on_ray import run_on_ray
from tests.ray.test_flows import ON_RAY
from tests.tiny_models import tiny_encoder
from tests.world import World, latest, make_world, shardrank, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]

INLINE = "cluster.executor=inline"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    """With an index by its encoder."""
    found = make_world(tmp_path_factory.mktemp("backfill"), models, DOCUMENTS, queries=1)
    with installed():
        assert shardrank(*found.index(found.root / "index", *SETS, INLINE)) == 0
    return found


def night(world: World, root: Path, other: Path, *sets: str) -> list[str]:
    """The command by the other encoder, over a copy of the index."""
    index = shutil.copytree(world.root / "index", root / "index")
    return world.index(index, *SETS, *BACKFILL, f"encoder.model={other}", *sets)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("other"), "roberta-cls", dim=32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, world: World, other: Path) -> Path:
    """After a night without Ray."""
    root = tmp_path_factory.mktemp("inline")
    with installed():
        assert shardrank(*night(world, root, other, INLINE)) == 0
    found = latest(root / "index")
    assert found.mapped
    assert len(found.parts) > 3
    return root / "index"


@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 2, 4])
def test_any_number_of_actors(
    world: World, other: Path, whole: Path, tmp_path: Path, actors: int
) -> None:
    run_on_ray([night(world, tmp_path, other, ON_RAY, f"cluster.actors={actors}")], 4, 400)
    assert snapshot(tmp_path / "index") == snapshot(whole)
