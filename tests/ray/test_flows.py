"""Both flows on Ray: the same bytes with any number of actors, and nothing done twice."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shardrank.core.pools import Resources
from tests.inline import installed
from tests.world import World, make_world, shardrank, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),  # Ray's, about itself
]

EXACT = ("passages.part_size=64", "search.k=20", "reranker.depth=8")
IVFPQ = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=160",
    "index.kind=ivfpq",
    "index.pq_bits=4",
    "index.nlist=8",
    "index.shard_passages=400",
    "audit.k=10",
    "audit.target=0.5",
    "audit.queries=64",
    "search.block_queries=8",
    "search.k=20",
    "reranker.depth=8",
)


@dataclass(frozen=True)
class Run:
    """A finished index and ranking, and all that a reader sees of them."""

    root: Path
    seen: dict[str, Any]

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def markers(self) -> dict[str, int]:
        """When each marker was written."""
        found = self.root.glob("*/units/*/*.json")
        return {str(p.relative_to(self.root)): p.stat().st_mtime_ns for p in found}


def run(world: World, root: Path, *sets: str, executor: str = "ray") -> Run:
    sets = (*sets, f"cluster.executor={executor}")
    assert shardrank(*world.index(root / "index", *sets)) == 0
    assert shardrank(*world.rank(root / "index", root / "out", *sets)) == 0
    return Run(root, snapshot(root / "index", root / "out"))


def run_inline(world: World, root: Path, *sets: str) -> Run:
    with installed():
        return run(world, root, *sets, executor="inline")


def stages(markers: set[str]) -> set[str]:
    return {name.split("/")[2] for name in markers}


def differing(found: Run, expected: Run) -> list[str]:
    names = sorted(found.seen.keys() | expected.seen.keys())
    return [name for name in names if found.seen.get(name) != expected.seen.get(name)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=320, queries=16)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, world: World, cluster: Resources) -> Run:
    """The IVF-PQ path with two actors."""
    return run(world, tmp_path_factory.mktemp("two"), *IVFPQ, "cluster.actors=2")


def test_the_run_is_of_the_size_it_should_be(two: Run) -> None:
    version = two.seen["manifests/000001.json"]
    assert sum(part["live"]["documents"] for part in version["parts"]) == 320
    assert sum(part["live"]["passages"] for part in version["parts"]) > 700
    assert (len(version["parts"]), len(version["indexes"]["dense"]["shards"])) == (5, 2)
    assert [name for name in two.seen if name.startswith("rankings/")] == [
        "rankings/00000.parquet",
        "rankings/00001.parquet",
    ]


def test_two_actors_give_the_bytes_of_no_ray(world: World, two: Run, tmp_path: Path) -> None:
    assert differing(run_inline(world, tmp_path, *IVFPQ), two) == []


ON_RAY = "cluster.executor=ray"
LABELS = ("label.negatives=3", "label.random_negatives=2", "label.batch_negatives=1")


def label_words(world: World, out: Path, labels: Path, *sets: str) -> list[str]:
    values = (f"reranker.model={world.reranker}", *IVFPQ, *LABELS, *sets)
    words = [word for value in values for word in ("--set", value)]
    return ["label", str(out), str(labels), "-f", "listwise", "--qrels", world.qrels, *words]


def label_files(labels: Path) -> dict[str, bytes]:
    found = (
        path
        for folder in ("listwise", "about/listwise", "scores", "passages")
        for path in (labels / folder).rglob("*.parquet")
    )
    return {str(path.relative_to(labels)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, world: World, two: Run) -> dict[str, bytes]:
    """Without Ray."""
    folder = tmp_path_factory.mktemp("labels")
    with installed():
        assert shardrank(*label_words(world, two.out, folder)) == 0
    return label_files(folder)


def test_labels_with_two_actors(
    world: World, two: Run, labels: dict[str, bytes], cluster: Resources, tmp_path: Path
) -> None:
    assert shardrank(*label_words(world, two.out, tmp_path, "cluster.actors=2", ON_RAY)) == 0
    assert label_files(tmp_path) == labels
    assert len(labels) > 4


@pytest.mark.slow
@pytest.mark.parametrize("actors", [1, 4])
def test_labels_with_one_and_four_actors(
    world: World, two: Run, labels: dict[str, bytes], tmp_path: Path, actors: int
) -> None:
    sets = (ON_RAY, "cluster.cpus=4", f"cluster.actors={actors}", "cluster.object_store_mb=100")
    code = "from shardrank.jobs.cli import main; main()"
    words = label_words(world, two.out, tmp_path, *sets)
    subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=400)
    assert label_files(tmp_path) == labels


@pytest.mark.slow
def test_one_actor_gives_the_bytes_of_two(
    world: World, two: Run, cluster: Resources, tmp_path: Path
) -> None:
    assert differing(run(world, tmp_path, *IVFPQ, "cluster.actors=1"), two) == []


@pytest.mark.slow
def test_exact_search_too(world: World, cluster: Resources, tmp_path: Path) -> None:
    expected = run_inline(world, tmp_path / "inline", *EXACT)
    for actors in (1, 2):
        found = run(world, tmp_path / str(actors), *EXACT, f"cluster.actors={actors}")
        assert differing(found, expected) == []


@pytest.mark.slow
def test_four_actors_give_the_bytes_of_two(world: World, two: Run, tmp_path: Path) -> None:
    """On a Ray of its own, that believes in four CPUs."""
    index, out = tmp_path / "index", tmp_path / "out"
    four = (*IVFPQ, ON_RAY, "cluster.cpus=4", "cluster.actors=4", "cluster.object_store_mb=100")
    for words in (world.index(index, *four), world.rank(index, out, *four)):
        code = "from shardrank.jobs.cli import main; main()"
        subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=400)
    assert differing(Run(tmp_path, snapshot(index, out)), two) == []


def test_a_rerun_does_nothing_new(world: World, two: Run, cluster: Resources) -> None:
    before = two.markers()
    index = {"scan", "compare", "ingest", "embed", "sample", "train", "build", "questions", "audit"}
    ranked = {"encode", "search", "merge", "rerank", "collate", "locate"}
    assert stages(set(before)) == index | ranked
    assert run(world, two.root, *IVFPQ, "cluster.actors=2").seen == two.seen
    new = set(two.markers()) - set(before)
    assert stages(new) == {"compare"}  # with the version that the first run made
    assert all(two.markers()[name] == at for name, at in before.items())
    assert [path.name for path in (two.index / "manifests").iterdir()] == ["000001.json"]


def test_another_depth_searches_and_merges_nothing_again(
    world: World, two: Run, cluster: Resources
) -> None:
    """Nor does a smaller one score a pair again."""
    for depth, worked in ((3, {"collate"}), (11, {"rerank", "collate"}), (10, {"collate"})):
        before = two.markers()
        other = (*IVFPQ[:-1], f"reranker.depth={depth}")
        assert shardrank(*world.rank(two.index, two.out, *other), "--overwrite") == 0
        after = two.markers()
        assert stages(after.keys() - before.keys()) == worked
        assert before.items() <= after.items()
        rows = pq.read_table(two.out / "rankings").to_pylist()
        reranked = [row for row in rows if row["rerank_score"] is not None]
        assert max(row["retrieval_rank"] for row in reranked) == depth
    assert shardrank(*world.rank(two.index, two.out, *IVFPQ), "--overwrite") == 0
    assert snapshot(two.index, two.out) == two.seen


def test_the_report_stands_alone(two: Run) -> None:
    page = (two.out / "report.html").read_text("utf-8")
    assert "nDCG@10" in page
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*""", page) == []
    assert re.findall(r"url\(\s*['\"]?(?!#|data:)[^)]*\)|@import", page) == []
    assert re.findall(r"<script[^>]*\ssrc|<link\b", page) == []


def test_the_metrics_are_those_of_the_contract(two: Run) -> None:
    metrics = json.loads(two.seen["metrics.json"])
    assert metrics.keys() == {"retrieved", "reranked"}
    for values in metrics.values():
        assert values.keys() == {"nDCG@10", "MRR@10", "Recall@100"}
        assert all(0 <= value <= 1 for value in values.values())
