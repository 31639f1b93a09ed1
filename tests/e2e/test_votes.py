"""What a language model is told of who found a passage, from retrievers' lists to its prompt."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import shardrank as package
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.settings import Settings
from shardrank.stages.rank.rerank_lists import once_each
from tests.inline import installed
from tests.tiny_language import tiny_language
from tests.world import World, make_world, tiny_models

K, DEPTH = 8, 6
Given = Mapping[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("votes")
    made = make_world(root, tiny_models(root / "models"), documents=40, queries=5)
    tiny_language(root / "language")
    with installed():
        package.index(made.corpus, root / "index", settings=settings(made, {}))
    return made


def settings(world: World, reranker: Given, *retrievers: Given) -> Settings:
    model = {"family": "listwise", "model": str(world.root / "language"), "depth": DEPTH}
    return Settings.model_validate(
        {
            "encoder": [{"model": str(world.encoder)}, {"family": "bm25"}],
            "passages": {"part_size": 16, "max_tokens": 64},
            "retriever": list(retrievers),
            "search": {"k": K, "block_queries": 2},
            "reranker": [{**model, **reranker} if reranker else {"model": "off"}],
            "label": {"depth": K + 4, "positives": "teacher"},
        }
    )


def seen(patch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """By query, the passages that rerankers are given from now on."""
    told: dict[str, list[str]] = {}

    def keeping(reranker: ListReranker, query: str, passages: Sequence[str]) -> ListScores:
        told[query] = list(passages)
        return once_each(reranker, query, passages)

    patch.setattr("shardrank.stages.rank.rerank_lists.once_each", keeping)
    return told


def ranks(world: World, name: str, *retrievers: Given) -> dict[str, dict[str, int]]:
    """By query and document the rank in the one list of these retrievers."""
    out = world.root / name
    package.rank(
        world.root / "index", world.queries, out, settings=settings(world, {}, *retrievers)
    )
    found: dict[str, dict[str, int]] = {}
    for row in pq.read_table(out / "rankings").to_pylist():
        found.setdefault(row["query_id"], {})[row["doc_id"]] = row["rank"]
    return found


def test_each_passage_begins_with_its_ranks(world: World) -> None:
    both = [{"index": "dense"}, {"index": "bm25", "name": "words"}]
    texts = {row["text"]: row["_id"] for row in world.rows("corpus")}
    asked = {row["_id"]: row["text"] for row in world.rows("queries")}
    with installed() as patch:
        dense, words = ranks(world, "dense", both[0]), ranks(world, "words", both[1])
        told = seen(patch)
        how = settings(world, {"votes": True, "prompt": "votes"}, *both)
        package.rank(world.root / "index", world.queries, world.root / "told", settings=how)
    for name, query in asked.items():
        assert len(told[query]) == DEPTH
        for passage in told[query]:
            votes, text = passage.split(") ", 1)
            doc = texts[text]
            first, second = (found.get(name, {}).get(doc, "-") for found in (dense, words))
            assert votes == f"(dense: {first}, words: {second}"


def test_a_teacher_is_told_what_the_ranking_had(world: World) -> None:
    """In lists that are longer than what the reranker was given, and shorter than its window."""
    one = {"index": "dense"}
    with installed() as patch:
        how = settings(world, {"votes": True}, one)
        out = world.root / "taught"
        package.rank(world.root / "index", world.queries, out, settings=how)
        told = seen(patch)
        package.label(out, world.root / "labels", settings=how, format="margin-mse")
    votes = [passage.split(") ", 1)[0] for passages in told.values() for passage in passages]
    assert {f"(dense: {rank}" for rank in range(1, K + 1)} <= set(votes)


def test_without_votes_nothing_is_said(world: World, tmp_path: Path) -> None:
    with installed() as patch:
        told = seen(patch)
        how = settings(world, {"votes": False}, {"index": "dense"})
        package.rank(world.root / "index", world.queries, tmp_path / "plain", settings=how)
    assert told
    assert not any(p.startswith("(") for each in told.values() for p in each)
