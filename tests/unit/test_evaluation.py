"""Metrics against hand-computed values, and what counts when queries are missing."""

from math import log2

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.evaluation import Coverage, Judgement, coverage, same_ids, unmet
from shardrank.core.measured import evaluate
from shardrank.core.schemas import RANKINGS

# query, doc, rank, retrieval rank, rerank score
Row = tuple[str, str, int, int, float | None]


def rankings(rows: list[Row], score: float = 0.5) -> pa.Table:
    """A table in which all scores tie, so that only the ranks can decide."""
    columns = zip(*((q, d, 0, r, score, rr, score, s) for q, d, r, rr, s in rows), strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, RANKINGS, strict=True)]
    return pa.table(arrays, schema=RANKINGS)


def test_graded_relevance_by_hand() -> None:
    table = rankings([("q", "a", 3, 1, 1.0), ("q", "b", 1, 2, 3.0), ("q", "c", 2, 3, 2.0)])
    judgements = [Judgement("q", "b", 1), Judgement("q", "c", 3), Judgement("q", "missing", 2)]
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    result = evaluate([table], judgements)
    retrieved, reranked = result["retrieved"], result["reranked"]
    assert retrieved["nDCG@10"] == pytest.approx((1 / log2(3) + 3 / log2(4)) / ideal)
    assert reranked["nDCG@10"] == pytest.approx((1 + 3 / log2(3)) / ideal)
    assert (retrieved["MRR@10"], reranked["MRR@10"]) == (0.5, 1.0)
    assert retrieved["Recall@100"] == reranked["Recall@100"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("rank", "metrics"),
    [
        (10, {"nDCG@10": 1 / log2(11), "MRR@10": 0.1, "Recall@100": 1.0}),
        (11, {"nDCG@10": 0.0, "MRR@10": 0.0, "Recall@100": 1.0}),
        (100, {"nDCG@10": 0.0, "MRR@10": 0.0, "Recall@100": 1.0}),
        (101, {"nDCG@10": 0.0, "MRR@10": 0.0, "Recall@100": 0.0}),
    ],
)
def test_cutoffs_follow_the_rank_where_all_scores_tie(rank: int, metrics: dict[str, float]) -> None:
    # Ids descend as ranks ascend: ties broken by id either way would give another answer.
    table = rankings([("q", f"d{500 - r}", r, r, None) for r in range(1, 121)])
    found = evaluate([table], [Judgement("q", f"d{500 - rank}", 1)])
    assert found == {"retrieved": pytest.approx(metrics)}


def test_a_judged_query_without_a_ranking_counts_as_zero() -> None:
    table = rankings([("q1", "a", 1, 1, 0.0)])
    judgements = [Judgement("q1", "a", 1), *(Judgement(q, "a", 1) for q in ("q2", "q3", "q4"))]
    assert set(evaluate([table], judgements)["retrieved"].values()) == {0.25}


def test_a_ranked_query_without_judgements_is_left_out() -> None:
    table = rankings([("q1", "a", 1, 1, 0.0), ("q2", "x", 1, 1, 0.0)])
    assert set(evaluate([table], [Judgement("q1", "a", 1)])["reranked"].values()) == {1.0}


def test_relevance_of_zero_and_below_is_not_relevant() -> None:
    table = rankings([("q", "a", 1, 2, 0.0), ("q", "b", 2, 1, 0.0)])
    judgements = [Judgement("q", "a", 1), Judgement("q", "b", 0), Judgement("q", "c", -2)]
    assert evaluate([table], judgements)["retrieved"]["MRR@10"] == 0.5
    assert evaluate([table], judgements)["reranked"]["nDCG@10"] == 1.0
    assert evaluate([table], judgements)["retrieved"]["Recall@100"] == 1.0


def test_reranked_is_there_when_any_row_was_reranked() -> None:
    judgements = [Judgement("q", "a", 1)]
    none = rankings([("q", "a", 1, 1, None), ("q", "b", 2, 2, None)])
    some = rankings([("q", "a", 1, 1, None), ("q", "b", 2, 2, 0.0)])
    assert list(evaluate([none], judgements)) == ["retrieved"]
    assert list(evaluate([some], judgements)) == ["retrieved", "reranked"]


def test_no_overlap_shows_an_id_of_each() -> None:
    table = rankings([("0017", "a", 1, 1, None)])
    with pytest.raises(InputError) as caught:
        evaluate([table], [Judgement("17", "a", 1)])
    assert "'0017'" in caught.value.message
    assert "'17'" in caught.value.message


@pytest.mark.parametrize(
    ("table", "judgements"),
    [
        (RANKINGS.empty_table(), [Judgement("q", "a", 1)]),
        (rankings([("q", "a", 1, 1, None)]), []),
    ],
)
def test_nothing_to_compare_is_an_input_error(table: pa.Table, judgements: list[Judgement]) -> None:
    with pytest.raises(InputError, match="none"):
        evaluate([table], judgements)


def test_coverage_counts_queries_not_rows() -> None:
    table = rankings([("q1", "a", 1, 1, None), ("q1", "b", 2, 2, None), ("q9", "a", 1, 1, None)])
    judgements = [Judgement(q, d, 1) for q in ("q1", "q2", "q3") for d in "ab"]
    counts = coverage([table], judgements)
    assert counts == Coverage(judged=3, ranked=2, both=1)
    assert (counts.unjudged_queries, counts.unranked_queries) == (1, 2)


def test_beirs_rule_passes_over_the_query_itself() -> None:
    rows: list[Row] = [("a", "a", 2, 1, 0.0), ("a", "b", 1, 2, 1.0), ("b", "c", 1, 1, 0.0)]
    table = rankings([*rows, ("b", "b", 2, 2, 0.0)])
    judgements = [Judgement("a", "b", 1), Judgement("b", "a", 1)]
    assert evaluate([table], judgements)["retrieved"]["MRR@10"] == 0.25
    assert evaluate([table], judgements, ignore_same_id=True)["retrieved"]["MRR@10"] == 0.5
    found = same_ids([table])
    assert (found.queries, found.first) == (2, 1)
    assert same_ids([RANKINGS.empty_table()]).queries == 0


def test_ids_that_never_meet_are_told() -> None:
    table = rankings([("q", "1", 1, 1, None)])
    for judged, words in [("d1", "such as 'd1', the rankings such as '1'"), ("1", "")]:
        judgements = [Judgement("q", judged, 1)]
        assert words in unmet(evaluate([table], judgements), [table], judgements)
    nothing = [Judgement("q", "1", 0)]
    assert "no judgement is above 0" in unmet(evaluate([table], nothing), [table], nothing)


documents = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(st.dictionaries(st.sampled_from("pqrs"), documents, min_size=1), st.data())
def test_equal_orders_score_equally_and_row_order_is_nothing(
    runs: dict[str, list[str]], data: st.DataObject
) -> None:
    rows: list[Row] = [
        (query, doc, rank, rank, 0.0)
        for query, docs in runs.items()
        for rank, doc in enumerate(docs, start=1)
    ]
    judgements = [
        Judgement(query, doc, data.draw(st.integers(-1, 3)))
        for query, docs in runs.items()
        for doc in docs
    ]
    result = evaluate([rankings(rows)], judgements)
    assert result["retrieved"] == result["reranked"]
    assert all(0 <= value <= 1 for value in result["retrieved"].values())
    shuffled = evaluate([rankings(data.draw(st.permutations(rows)))], judgements)
    assert shuffled["retrieved"] == pytest.approx(result["retrieved"])
