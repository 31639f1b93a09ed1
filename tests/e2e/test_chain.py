"""Rerankers one after another, against plain Python over what each of them says alone."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import shardrank as package
from tests.tiny_models import tiny_reranker
from tests.world import World, make_world, shardrank

pytestmark = pytest.mark.usefixtures("inline")

K, FIRST, SECOND = 12, 6, 3
Scores = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path], inline: object
) -> World:
    made = make_world(tmp_path_factory.mktemp("chain"), models, documents=30, queries=5)
    assert shardrank(*made.index(made.root / "index")) == 0
    return made


def settings(world: World, *rerankers: dict[str, object]) -> package.Settings:
    return package.Settings.model_validate(
        {
            "encoder": {"model": str(world.encoder)},
            "search": {"k": K, "block_queries": 2},
            "reranker": rerankers,
        }
    )


def ranked(world: World, out: Path, *rerankers: dict[str, object]) -> list[dict[str, object]]:
    made = package.rank(
        world.root / "index", world.queries, out, settings=settings(world, *rerankers)
    )
    assert len(made.manifest.rerankers) == len(rerankers)
    return pq.read_table(out / "rankings").to_pylist()


def column(rows: list[dict[str, object]], name: str) -> Scores:
    found: Scores = defaultdict(dict)
    for row in rows:
        found[row["query_id"]][row["doc_id"]] = row[name]  # type: ignore[index, assignment]
    return found


def blended(
    order: list[str], scores: dict[str, float], logits: dict[str, float], depth: int
) -> tuple[list[str], dict[str, float]]:
    """The order, and scores, of which only those of reranked documents are wanted."""
    half = np.float32(0.5)
    new = {d: float(half * np.float32(logits[d]) + half * np.float32(scores[d])) for d in order}
    head = sorted(order[:depth], key=lambda d: (-new[d], d))
    return head + order[depth:], new


def test_each_reranks_what_the_one_before_put_first(world: World, tmp_path: Path) -> None:
    other = tiny_reranker(tmp_path / "other", "roberta")
    models = [{"model": str(path), "interpolation": 0.5} for path in (world.reranker, other)]
    alone = [ranked(world, tmp_path / f"{n}", {**m, "depth": K}) for n, m in enumerate(models)]
    chain = ranked(
        world, tmp_path / "both", {**models[0], "depth": FIRST}, {**models[1], "depth": SECOND}
    )
    retrieved = column(alone[0], "retrieval_score")
    assert column(chain, "retrieval_score") == retrieved
    assert column(chain, "retrieval_rank") == column(alone[0], "retrieval_rank")
    logits = [column(rows, "rerank_score") for rows in alone]
    for query, scores in retrieved.items():
        order = sorted(scores, key=lambda d: (-scores[d], d))
        order, once = blended(order, scores, logits[0][query], FIRST)
        order, _ = blended(order, once, logits[1][query], SECOND)
        rows = sorted((r for r in chain if r["query_id"] == query), key=lambda r: r["rank"])
        assert [row["doc_id"] for row in rows] == order
        scored = {
            row["doc_id"]: row["rerank_score"] for row in rows if row["rerank_score"] is not None
        }
        # The last bits of a logit depend on what else was scored with it.
        wanted = {d: logits[1][query][d] for d in order[:SECOND]}
        assert scored == pytest.approx(wanted, rel=1e-5)


def test_one_that_is_off_reranks_nothing(world: World, tmp_path: Path) -> None:
    kept = {"model": str(world.reranker), "depth": 4}
    one = ranked(world, tmp_path / "one", kept)
    made = package.rank(
        world.root / "index",
        world.queries,
        tmp_path / "two",
        settings=settings(world, {"model": "off"}, kept),
    )
    assert len(made.manifest.rerankers) == 1
    assert pq.read_table(tmp_path / "two" / "rankings").to_pylist() == one
