"""Both flows on Ray: the same bytes with any number of actors, and nothing done twice."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.world import World, make_world, shardrank, snapshot

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("cluster"),
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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=320, queries=16)


def run(world: World, root: Path, *sets: str) -> dict[str, Any]:
    """Index and rank; all that a reader sees."""
    index, out = root / "index", root / "out"
    assert shardrank(*world.index(index, *sets)) == 0
    assert shardrank(*world.rank(index, out, *sets)) == 0
    return snapshot(index, out)


def markers(root: Path) -> dict[str, int]:
    """When each marker was written."""
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.glob("*/units/*/*.json")}


@pytest.mark.parametrize("sets", [EXACT, IVFPQ], ids=["exact", "ivfpq"])
def test_one_and_two_actors_give_the_same_bytes(
    world: World, tmp_path: Path, sets: tuple[str, ...]
) -> None:
    one = run(world, tmp_path / "one", *sets, "cluster.actors=1")
    two = run(world, tmp_path / "two", *sets, "cluster.actors=2")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    version = one["000001.json"]
    assert version["counts"]["documents"] == version["counts"]["rows"] == 320
    assert len(version["parts"]) > 3
    assert len(version["shards"]) == (1 if sets is EXACT else 2)


def test_a_rerun_does_nothing_new(world: World, tmp_path: Path) -> None:
    first = run(world, tmp_path, *EXACT)
    before = markers(tmp_path)
    stages = sorted({name.split("/")[2] for name in before})
    assert stages == ["collate", "embed", "encode", "ingest", "merge", "rerank", "resolve",
                      "scan", "search"]  # fmt: skip
    assert run(world, tmp_path, *EXACT) == first
    assert markers(tmp_path) == before
    assert [path.name for path in (tmp_path / "index/manifests").iterdir()] == ["000001.json"]


def test_a_new_reranking_depth_keeps_the_index_and_the_search(world: World, tmp_path: Path) -> None:
    run(world, tmp_path, *EXACT)
    before = markers(tmp_path)
    deeper = [*EXACT[:-1], "reranker.depth=3"]
    index, out = tmp_path / "index", tmp_path / "out"
    assert shardrank(*world.rank(index, out, *deeper), "--overwrite") == 0
    new = {name.split("/")[2] for name in markers(tmp_path).keys() - before.keys()}
    assert new == {"merge", "rerank", "collate"}
    assert before.items() <= markers(tmp_path).items()


def test_the_report_stands_alone(world: World, tmp_path: Path) -> None:
    run(world, tmp_path, *EXACT)
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert "nDCG@10" in page
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*""", page) == []
    assert re.findall(r"url\(\s*['\"]?(?!#|data:)[^)]*\)|@import", page) == []
    assert re.findall(r"<script[^>]*\ssrc|<link\b", page) == []
    metrics = json.loads((tmp_path / "out/metrics.json").read_bytes())
    assert metrics.keys() == {"retrieved", "reranked"}
    assert metrics["retrieved"].keys() == {"nDCG@10", "MRR@10", "Recall@100"}
