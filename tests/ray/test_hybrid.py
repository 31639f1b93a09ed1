"""A hybrid index and ranking: the same bytes on Ray with any number of actors, and without Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from shardrank.core.pools import Resources
from tests.ray.test_flows import ON_RAY, Run, differing, run, run_inline
from tests.world import World, make_world, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=120, queries=12)


SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=60",
    "index.kind=exact",
    "encoder.bm25.family=bm25",
    "index.bm25.shard_passages=100",
    "encoder.bits.family=bits",
    "index.bits.shard_passages=100",
    "audit.queries=16",
    "search.block_queries=4",
    "search.k=20",
    "reranker.depth=5",
)
#: Each model takes a pool of actors, which takes seconds to start.
SMALL = (
    *SETS,
    "reranker.model=off",
    "retriever.dense.index=dense",
    "retriever.bm25.index=bm25",
    "retriever.bits.index=bits",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, world: World) -> Run:
    """Three retrievers, without Ray."""
    return run_inline(world, tmp_path_factory.mktemp("inline"), *SMALL)


def test_it_is_a_hybrid(whole: Run) -> None:
    version = whole.seen["manifests/000001.json"]
    assert len(version["parts"]) > 3
    assert len(version["indexes"]["bm25"]["shards"]) > 2
    retrievers = whole.seen["manifest.json"]["retrievers"]
    assert [each["name"] for each in retrievers] == ["dense", "bm25", "bits"]


@pytest.mark.slow
def test_two_actors_give_the_bytes_of_no_ray(
    world: World, whole: Run, cluster: Resources, tmp_path: Path
) -> None:
    assert differing(run(world, tmp_path, *SMALL, "cluster.actors=2"), whole) == []


@pytest.fixture(scope="module")
def three(world: World) -> tuple[str, ...]:
    """Three retrievers over two columns of vectors and one of words; and a reranker."""
    other = ("model=" + str(world.encoder), "stored=fp32", "query_prompt=wing ")
    return (*SETS, *(f"encoder.other.{each}" for each in other))


@pytest.fixture(scope="module")
def all_three(
    tmp_path_factory: pytest.TempPathFactory, world: World, three: tuple[str, ...]
) -> Run:
    """Without Ray."""
    return run_inline(world, tmp_path_factory.mktemp("three"), *three)


@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 2, 4])
def test_any_number_of_actors(
    world: World, three: tuple[str, ...], all_three: Run, tmp_path: Path, actors: int
) -> None:
    """On a Ray of its own, that believes in four CPUs."""
    index, out = tmp_path / "index", tmp_path / "out"
    size = ("cluster.cpus=4", f"cluster.actors={actors}", "cluster.object_store_mb=100")
    sets = (*three, ON_RAY, *size)
    for words in (world.index(index, *sets), world.rank(index, out, *sets)):
        code = "from shardrank.jobs.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=400)
    assert differing(Run(tmp_path, snapshot(index, out)), all_three) == []
    assert len(all_three.seen["manifest.json"]["retrievers"]) == 3
