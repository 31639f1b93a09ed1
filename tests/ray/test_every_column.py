"""An index with a column of every family, and a ranking by all of its indexes and by two rerankers:
the same bytes on Ray with any number of actors, and without Ray."""

from pathlib import Path

import pytest

from shardrank.core.pools import Resources
from tests.every_column import (
    NO_CODEBOOKS,
    SETS,
    PicturedWorld,
    columns_of,
    pictured_world,
    retrievers,
)
from tests.inline import installed
from tests.on_ray import run_on_ray
from tests.ray.test_flows import ON_RAY, Run, differing, run_inline
from tests.world import make_world, shardrank, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]

#: A column of codes that are fitted by a model, one of them, and one of words.
FEW = ("bm25", "late4", "muvera")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> PicturedWorld:
    root = tmp_path_factory.mktemp("world")
    return pictured_world(make_world(root, models, documents=40, queries=6))


def test_two_actors_make_some_columns(
    world: PicturedWorld, cluster: Resources, tmp_path: Path
) -> None:
    sets = (*SETS, *columns_of(tmp_path, world, FEW), *NO_CODEBOOKS)
    with installed():
        assert shardrank(*world.index(tmp_path / "inline", *sets, "cluster.executor=inline")) == 0
    two = (ON_RAY, "cluster.actors=2")
    assert shardrank(*world.index(tmp_path / "ray", *sets, *two)) == 0
    assert snapshot(tmp_path / "ray") == snapshot(tmp_path / "inline")


@pytest.fixture(scope="module")
def sets(world: PicturedWorld) -> tuple[str, ...]:
    maxsim = ("reranker.depth=4", "reranker.maxsim.of=late4", "reranker.maxsim.depth=3")
    return (*SETS, *columns_of(world.root, world), *NO_CODEBOOKS, *retrievers(), *maxsim)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, world: PicturedWorld, sets: tuple[str, ...]
) -> Run:
    """Without Ray."""
    return run_inline(world, tmp_path_factory.mktemp("inline"), *sets)


@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 2, 4])
def test_any_number_of_actors(
    world: PicturedWorld, sets: tuple[str, ...], whole: Run, tmp_path: Path, actors: int
) -> None:
    """Both commands on a Ray of their own, that believes in four CPUs."""
    index, out = tmp_path / "index", tmp_path / "out"
    size = (ON_RAY, f"cluster.actors={actors}")
    commands = [world.index(index, *sets, *size), world.rank(index, out, *sets, *size)]
    run_on_ray(commands, cpus=4, timeout=1200)
    assert differing(Run(tmp_path, snapshot(index, out)), whole) == []
