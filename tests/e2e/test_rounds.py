"""Feedback and hubs lowered, by whole commands, against numpy over the stored vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.hubness import hubness
from shardrank.core.settings import Settings
from tests.world import World, latest, make_world

pytestmark = pytest.mark.usefixtures("inline")

K, FIRST = 10, 3
Retriever = dict[str, Any]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    made = make_world(tmp_path_factory.mktemp("rounds"), models, documents=60, queries=9)
    package.index(made.corpus, made.root / "index", settings=settings(made, {}))
    return made


def settings(world: World, retriever: Retriever) -> Settings:
    return Settings.model_validate(
        {
            "encoder": [{"model": str(world.encoder)}, {"family": "bm25"}],
            "passages": {"part_size": 16},
            "retriever": [{"index": "dense", **retriever}],
            "search": {"k": K, "block_queries": 4},
            "reranker": [{"model": "off"}],
        }
    )


def ranked(world: World, out: Path, retriever: Retriever) -> dict[str, dict[str, float]]:
    """Retrieval scores by document, in the order of ranks, of each query."""
    package.rank(world.root / "index", world.queries, out, settings=settings(world, retriever))
    found: dict[str, dict[str, float]] = {}
    order = [("query_id", "ascending"), ("rank", "ascending")]
    for row in pq.read_table(out / "rankings").sort_by(order).to_pylist():
        found.setdefault(row["query_id"], {})[row["doc_id"]] = row["retrieval_score"]
    return found


def stored(world: World, out: Path) -> tuple[dict[str, int], Float32, list[str], Float32]:
    """Documents by their places, their vectors; queries, and theirs as they were asked."""
    index, parts = world.root / "index", latest(world.root / "index").parts
    keys = [pq.read_table(index / p.keys.key).sort_by("row")["doc_id"] for p in parts]
    names = [name for column in keys for name in column.to_pylist()]
    files = [pq.read_table(index / part.columns["dense"].file.key)["vector"] for part in parts]
    vectors = np.concatenate([matrix(column) for column in files])
    blocks = package.api.read_ranked(package.api.open_workspace(str(out), Settings())).blocks
    asked = pa.concat_tables(pq.read_table(out / b.queries.key) for b in blocks)
    queries = np.concatenate([matrix(pq.read_table(out / b.vectors.key)["vector"]) for b in blocks])
    return (
        dict(zip(names, range(len(names)), strict=True)),
        vectors,
        asked["query_id"].to_pylist(),
        queries,
    )


def test_feedback_asks_again_by_what_was_found(world: World, tmp_path: Path) -> None:
    plain = ranked(world, tmp_path / "plain", {})
    given = {"feedback": FIRST, "alpha": 0.5, "beta": 0.5}
    found = ranked(world, tmp_path / "moved", given)
    place, vectors, names, queries = stored(world, tmp_path / "moved")
    for name, query in zip(names, queries, strict=True):
        near = [vectors[place[doc]] for doc in list(plain[name])[:FIRST]]
        moved = 0.5 * query + 0.5 * np.mean(near, axis=0)
        scores = {doc: float(vectors[n] @ moved) for doc, n in place.items()}
        best = sorted(scores.values(), reverse=True)[:K]
        assert list(found[name].values()) == pytest.approx(best, abs=1e-5)
        assert found[name] == pytest.approx({d: scores[d] for d in found[name]}, abs=1e-5)


@pytest.mark.parametrize("index", ["dense", "bm25"])
def test_feedback_without_weight_changes_no_order(world: World, tmp_path: Path, index: str) -> None:
    plain = ranked(world, tmp_path / "plain", {"index": index})
    given = {"index": index, "feedback": FIRST, "alpha": 1, "beta": 0}
    assert ranked(world, tmp_path / "again", given) == plain


def test_hubs_are_lowered_by_the_batch(world: World, tmp_path: Path) -> None:
    plain = ranked(world, tmp_path / "plain", {})
    found = ranked(world, tmp_path / "lowered", {"hubness": 20})
    place, vectors, names, queries = stored(world, tmp_path / "lowered")
    hubs = hubness(vectors, [queries], 20.0)
    for name in names:
        wanted = {doc: score - hubs[place[doc]] for doc, score in plain[name].items()}
        assert found[name] == pytest.approx(wanted, abs=1e-6)
        assert list(found[name].values()) == sorted(found[name].values(), reverse=True)


def test_a_gallery_is_a_second_bank(world: World, tmp_path: Path) -> None:
    """Of all passages, where there are fewer than are wanted."""
    plain = ranked(world, tmp_path / "plain", {})
    found = ranked(world, tmp_path / "both", {"hubness": 20, "gallery": 1000})
    place, vectors, names, queries = stored(world, tmp_path / "both")
    hubs = hubness(vectors, [queries, vectors], 20.0)
    for name in names:
        wanted = {doc: score - hubs[place[doc]] for doc, score in plain[name].items()}
        assert found[name] == pytest.approx(wanted, abs=1e-6)
