"""Which queries the report shows, and what it says of them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.evaluation import PerQuery
from shardrank.report import queries
from shardrank.report.queries import Effect, Moves, moves, query_table

TEXTS = pa.table({"query_id": [f"q{n}" for n in range(9)], "text": [f"text {n}" for n in range(9)]})


def moved_of(*far: float, reranked: bool = True) -> Moves:
    """Of q8, q7, … in this order."""
    ids = pa.array([f"q{8 - n}" for n in range(len(far))])
    return Moves(ids, np.array(far), np.arange(len(far)), reranked)


def measured(before: list[float], after: list[float] | None) -> PerQuery:
    """Of q8, q7, …, and of a query that was not ranked."""
    ids = [f"q{8 - n}" for n in range(len(before))]
    values = {"retrieved": {"AP": np.array([*before, 0.0])}}
    if after is not None:
        values["reranked"] = {"AP": np.array([*after, 0.0])}
    return PerQuery([*ids, "never"], len(ids), values)


def test_how_far_documents_moved() -> None:
    places = [*range(2, 12), 1, 12]  # the one that was first falls behind the tenth
    block = pa.table(
        {
            "query_id": ["a"] * 12 + ["b"],
            "rank": pa.array([*range(1, 13), 1], pa.int32()),
            "retrieval_rank": pa.array([*places, 1], pa.int32()),
            "rerank_score": pa.array([1.0] * 12 + [None], pa.float32()),
        }
    )
    found = moves([block.slice(0, 0), block])
    assert dict(zip(found.queries.to_pylist(), found.moved.tolist(), strict=True)) == {
        "a": 1.0, "b": 0.0
    }  # fmt: skip
    assert (found.fresh.tolist(), found.reranked) == ([1, 0], True)
    assert not moves([block.slice(12)]).reranked
    assert len(moves([]).queries) == 0


def test_the_worst_and_the_best_and_what_reranking_did() -> None:
    before, after = [0.5, 0.25, 1.0, 0.0], [0.25, 0.75, 1.0, 0.0]
    found = query_table(TEXTS, moved_of(3, 2, 0, 1), measured(before, after))
    assert found
    assert found.effects == (Effect("AP", 1, 2, 1),)
    lists = {each.title: [row.query_id for row in each.rows] for each in found.lists}
    assert lists == {
        "Lowest AP": ["q5", "q8", "q7", "q6"],
        "Highest AP": ["q6", "q7", "q8", "q5"],
        "Hurt most by reranking, in AP": ["q8"],
        "Helped most by reranking, in AP": ["q7"],
    }
    assert found.rows[0].text == "text 8"
    assert (found.rows[0].before, found.rows[0].after, found.rows[0].moved) == ((0.5,), (0.25,), 3)
    assert found.total == len(found.rows) == 4


def test_without_a_reranker_there_are_the_worst_and_the_best() -> None:
    found = query_table(TEXTS, moved_of(0, 0, reranked=False), measured([0.5, 0.25], None))
    assert found
    assert [each.title for each in found.lists] == ["Lowest AP", "Highest AP"]
    assert (found.effects, found.reranked) == ((), False)
    assert json.loads(str(found.as_json()))["after"] == []


def test_without_judgements_there_is_how_far_the_order_moved() -> None:
    found = query_table(TEXTS, moved_of(1, 4, 2), None)
    assert found
    assert (found.metrics, found.lists, found.reranked) == ((), (), True)
    assert [row.moved for row in found.rows] == [1, 4, 2]
    assert query_table(TEXTS, moved_of(0, reranked=False), None) is None


@pytest.mark.parametrize(
    ("after", "kept"), [([0.5, 0.75, 0.0, 0.0], ["q7", "q6"]), (None, ["q6", "q5"])]
)
def test_of_too_many_those_that_moved_most_are_shown(
    after: list[float] | None, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a reranker those that are worst."""
    monkeypatch.setattr(queries, "LIMIT", 2)
    found = query_table(TEXTS, moved_of(9, 1, 1, 0), measured([0.5, 0.25, 0.2, 0.0], after))
    assert found
    assert ([row.query_id for row in found.rows], found.total) == (kept, 4)
