"""An index with a column of every family, and a ranking by all of its indexes and by two rerankers:
the same bytes on Ray with any number of actors, and without Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.every_column import NO_CODEBOOKS, SETS, columns_of, retrievers
from tests.ray.test_flows import ON_RAY, Run, differing, run_inline
from tests.world import World, make_world, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=40, queries=6)


@pytest.fixture(scope="module")
def sets(world: World) -> tuple[str, ...]:
    maxsim = ("reranker.depth=4", "reranker.maxsim.of=late4", "reranker.maxsim.depth=3")
    terms = ("reranker.terms.of=own", "reranker.terms.depth=2")
    return (*SETS, *columns_of(world.root, world), *NO_CODEBOOKS, *retrievers(), *maxsim, *terms)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, world: World, sets: tuple[str, ...]) -> Run:
    """Without Ray."""
    return run_inline(world, tmp_path_factory.mktemp("inline"), *sets)


@pytest.mark.parametrize("actors", [1, 2, 4])
def test_any_number_of_actors(
    world: World, sets: tuple[str, ...], whole: Run, tmp_path: Path, actors: int
) -> None:
    """On a Ray of its own, that believes in four CPUs."""
    index, out = tmp_path / "index", tmp_path / "out"
    size = ("cluster.cpus=4", f"cluster.actors={actors}", "cluster.object_store_mb=100")
    for words in (
        world.index(index, *sets, ON_RAY, *size),
        world.rank(index, out, *sets, ON_RAY, *size),
    ):
        code = "from shardrank.jobs.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=1200)
    assert differing(Run(tmp_path, snapshot(index, out)), whole) == []
