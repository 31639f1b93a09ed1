"""What tells a query that is a document from one that only has its number, and what is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.finite import ENOUGH, Source, refuse_broken
from shardrank.core.rank_counts import RankCounts
from shardrank.core.same_ids import SETTING, SameIds, is_own_text, is_piece_of, notice
from shardrank.core.text import plain, same_text
from shardrank.labels.itself import Candidate, itself

texts = st.text("aAbß .\n\t\u00a0", max_size=8)


@given(texts, texts)
def test_texts_are_one_where_their_plain_forms_are(one: str, other: str) -> None:
    assert same_text(one, other) == (plain(one) == plain(other))


@pytest.mark.parametrize(
    ("query", "title", "text", "own"),
    [
        ("Wing  flow", "", "wing flow\n", True),
        ("wing flow", "wing", "flow", True),
        ("wing flow", "other", "WING FLOW", True),
        ("wing flow", "wing flow", "a body", False),
        ("wing flow", "", "wing flow heat", False),
        ("STRASSE", "", "straße", True),
    ],
)
def test_a_passage_that_is_the_query(query: str, title: str, text: str, own: bool) -> None:
    assert is_own_text(query, title, text) == own


def test_a_piece_of_a_long_query() -> None:
    assert is_piece_of("wing flow heat", "Flow  heat")
    assert not is_piece_of("wing flow", "flow heat")


@pytest.mark.parametrize(
    ("doc_id", "text", "relevant", "without", "rule"),
    [
        ("q", "wing flow", False, True, True),
        ("q", "wing", False, True, True),  # a passage of the document that is the query
        ("q", "heat", False, False, True),
        ("q", "wing flow", True, False, True),
        ("d", "wing flow", False, True, True),
        ("d", "wing flow", True, False, False),  # judged: a duplicate is a good positive
        ("d", "wing", False, False, False),
    ],
)
def test_candidates_that_are_the_query(
    doc_id: str, text: str, relevant: bool, without: bool, rule: bool
) -> None:
    found = [Candidate("q", "wing flow", doc_id, "", text, relevant)]
    assert itself(found, ignore_same_id=False).tolist() == [without]
    assert itself(found, ignore_same_id=True).tolist() == [rule]
    assert itself([], ignore_same_id=True).tolist() == []


def test_what_is_said() -> None:
    assert notice(SameIds(0, 0, 0, 0, ignored=False)) == ""
    copies = notice(SameIds(9, 8, 5, 4, ignored=False))
    assert "9 queries have" in copies
    assert "8 of them as the first" in copies
    assert "of 5 looked at, 4 with the query's text" in copies
    assert f"--set {SETTING}=true" in copies
    assert "1 query has" in notice(SameIds(1, 1, 0, 0, ignored=False))
    chance = notice(SameIds(9, 0, 5, 0, ignored=False))
    assert f"{SETTING}=true" not in chance
    assert "left out" in notice(SameIds(9, 8, 5, 4, ignored=True))
    assert "one namespace?" in notice(SameIds(9, 0, 5, 0, ignored=True))


def test_counts_add_up() -> None:
    counts = RankCounts(10, 6, 1, {"b": 1, "a": 2}, 40, 3, 5)
    assert counts.lines() == [
        "  queries    10 = 6 ranked + 1 without a hit + 2 rejected (a) + 1 rejected (b)",
        "  pairs      40 = 37 reranked + 3 without a finite score; 5 truncated",
    ]
    assert RankCounts(2, 2, 0, {}, 0, 0, 0).lines() == ["  queries    2 = 2 ranked"]


@pytest.mark.parametrize(
    ("broken", "of", "refused"),
    [(ENOUGH, ENOUGH, True), (ENOUGH - 1, ENOUGH - 1, False), (99, 100, False), (0, 0, False)],
)
def test_a_model_is_refused_where_all_is_broken(broken: int, of: int, refused: bool) -> None:
    source = Source("reranker", "m", "fp16", "score")
    if not refused:
        refuse_broken(source, broken, of, "pairs")
        return
    with pytest.raises(InputError) as caught:
        refuse_broken(source, broken, of, "pairs")
    assert "The reranker 'm' in fp16 gives no finite score" in caught.value.message
    assert f"all {of} pairs" in caught.value.message
    assert "reranker.dtype=fp32" in caught.value.hint


def test_fewer_may_be_judged_where_there_are_no_more() -> None:
    source = Source("encoder", "m", "fp32", "vector")
    with pytest.raises(InputError) as caught:
        refuse_broken(source, 1, 1, "queries", least=1)
    assert caught.value.hint.startswith("Check its weights")
    refuse_broken(source, 0, 0, "queries", least=1)
