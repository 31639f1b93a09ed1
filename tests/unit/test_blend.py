"""The final order of documents from both scores, whatever the weight."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.schemas import HITS
from shardrank.core.topk import ranks
from shardrank.stages.rank.blend import Retrieved, rankings, reblended

WEIGHTS = st.floats(0, 1, width=32)


@st.composite
def scored(draw: st.DrawFn) -> tuple[pa.Table, np.ndarray, pa.ChunkedArray]:
    """Hits in the total order, logits of some of them, and the queries' names."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    hits, logits = [], []
    for query, size in enumerate(sizes):
        floats = st.floats(-1, 1, width=32)
        found = sorted(draw(st.lists(floats, min_size=size, max_size=size)), reverse=True)
        for number, score in enumerate(found):
            hits.append((query, f"d{number}", 0, score, 0, number))
            logits.append(draw(st.none() | st.floats(-12, 12, width=32)))
    table = pa.Table.from_pylist([dict(zip(HITS.names, hit, strict=True)) for hit in hits], HITS)
    names = pa.chunked_array([[f"q{n}" for n in reversed(range(len(sizes)))]])
    return table, np.array([np.nan if x is None else x for x in logits], np.float32), names


def found(hits: pa.Table) -> Retrieved:
    """As hits that no reranker has reordered were retrieved."""
    return Retrieved(ranks(hits), hits["score"].to_numpy())


@given(scored(), WEIGHTS, WEIGHTS)
def test_another_weight_is_as_if_ranked_with_it(
    case: tuple[pa.Table, np.ndarray, pa.ChunkedArray], one: float, other: float
) -> None:
    hits, logits, names = case
    stored, wanted = (rankings(hits, logits, weight, names, found(hits)) for weight in (one, other))
    assert reblended(stored, other).equals(wanted)


@given(scored())
def test_no_weight_is_the_retrieval_order(
    case: tuple[pa.Table, np.ndarray, pa.ChunkedArray],
) -> None:
    """Among those that were reranked; the others stay behind them."""
    hits, logits, names = case
    table = rankings(hits, logits, 0.0, names, found(hits))
    for name in names.to_pylist():
        mine = [row for row in table.to_pylist() if row["query_id"] == name]
        places = [(row["rerank_score"] is None, -row["retrieval_score"]) for row in mine]
        assert places == sorted(places)
