"""What a report takes from the rankings, block by block, against all of them at once."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.schemas import RANKINGS
from shardrank.flows.report import EXAMPLES, LINES, _most_moved, _near, _scores
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.storage import LocalStorage

DEPTH = 8


def ranking(number: int, order: list[int], reranked: bool) -> list[dict[str, Any]]:
    """Query `number`: document i was at rank i + 1, and stands at order[i] + 1."""
    return [
        {
            "query_id": f"q{number:02d}",
            "doc_id": f"d{before}",
            "passage": 0,
            "rank": after + 1,
            "score": 1.0 - after,
            "retrieval_rank": before + 1,
            "retrieval_score": float(number) - before,
            "rerank_score": float(after) if reranked else None,
        }
        for before, after in enumerate(order)
    ]


def stored(folder: Path, blocks: list[list[dict[str, Any]]]) -> StoredTables:
    workspace = Workspace(LocalStorage(str(folder)))
    tables = [pa.Table.from_pylist(rows, RANKINGS) for rows in blocks]
    refs = [workspace.write_table(f"t/{n}.parquet", table) for n, table in enumerate(tables)]
    return StoredTables(workspace, refs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rankings")


Orders = st.lists(st.permutations(range(DEPTH)), min_size=1, max_size=14)
Relevant = st.dictionaries(
    st.tuples(st.integers(0, 13), st.integers(0, DEPTH - 1)), st.booleans(), max_size=6
)


@given(Orders, st.integers(1, 5), Relevant)
@settings(max_examples=60, deadline=None)
def test_examples_are_those_that_moved_most(
    folder: Path, orders: list[list[int]], size: int, judged: dict[tuple[int, int], bool]
) -> None:
    queries = [ranking(number, order, True) for number, order in enumerate(orders)]
    starts = range(0, len(queries), size)
    blocks = [[row for rows in queries[at : at + size] for row in rows] for at in starts]
    relevant = {(f"q{query:02d}", f"d{doc}"): good for (query, doc), good in judged.items()}
    first = [[row for row in rows if row["rank"] <= LINES] for rows in queries]
    good = [any(relevant.get((r["query_id"], r["doc_id"])) for r in rows) for rows in first]
    moved = [sum(abs(r["rank"] - r["retrieval_rank"]) for r in rows) for rows in first]
    chosen = [n for n in range(len(queries)) if good[n]] or range(len(queries))
    expected = sorted(chosen, key=lambda n: (-moved[n], n))[:EXAMPLES]
    found = _most_moved(stored(folder, blocks), relevant)
    assert found == [f"q{number:02d}" for number in expected]


def test_an_example_shows_the_first_of_both_orders() -> None:
    table = pa.Table.from_pylist(ranking(1, [7, 6, 5, 4, 3, 2, 1, 0], True), RANKINGS)
    rows = _near(table, pa.array(["q01"]))
    assert len(rows) == DEPTH
    assert {min(row["rank"], row["retrieval_rank"]) <= LINES for row in rows} == {True}
    assert _near(table, pa.array(["q02"])) == []


def test_scores_are_counted_over_all_blocks(tmp_path: Path) -> None:
    rows = ranking(0, list(range(DEPTH)), True)
    found = _scores(stored(tmp_path, [rows, ranking(5, list(range(DEPTH)), False)]), "rerank_score")
    assert found is not None
    assert (found.total, found.edges[0], found.edges[-1]) == (DEPTH, 0, DEPTH - 1)
    assert _scores(stored(tmp_path, [ranking(0, [0], False)]), "rerank_score") is None
