"""Scores of pairs by the terms that both have: against dictionaries, and against inverted lists."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.sparse import SparseRows
from shardrank.index.bm25 import Bm25
from shardrank.index.inverted import InvertedShard, build_inverted
from shardrank.index.term_pairs import term_scores, terms_of_column

#: Few terms, so that many are met; and large ones, as hashes are.
TERMS = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 21, 1 << 40, (1 << 64) - 1])
WEIGHTS = st.floats(0.0625, 8, width=32)
ROW = st.dictionaries(TERMS, WEIGHTS, max_size=8)


def _rows(given: list[dict[int, float]]) -> SparseRows:
    ends = np.cumsum([0, *map(len, given)], dtype=np.int64)
    terms = [term for row in given for term in sorted(row)]
    weights = [row[term] for row in given for term in sorted(row)]
    return SparseRows(ends, np.array(terms, np.uint64), np.array(weights, np.float32))


def _all_pairs(queries: SparseRows, passages: SparseRows) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.mgrid[: queries.rows, : passages.rows]
    return left.ravel(), right.ravel()


@given(st.lists(ROW, min_size=1, max_size=4), st.lists(ROW, min_size=1, max_size=5))
def test_the_sum_over_shared_terms(
    asked: list[dict[int, float]], held: list[dict[int, float]]
) -> None:
    queries, passages = _rows(asked), _rows(held)
    left, right = _all_pairs(queries, passages)
    found = term_scores(queries, passages, left, right)
    expected = [
        sum(weight * held[r].get(term, 0.0) for term, weight in asked[q].items())
        for q, r in zip(left, right, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _random(rows: int, terms: int, most: int, counted: bool, seed: int) -> SparseRows:
    rng = np.random.default_rng(seed)
    drawn = [np.sort(rng.choice(terms, rng.integers(0, most + 1), False)) for _ in range(rows)]
    ends = np.cumsum([0, *map(len, drawn)], dtype=np.int64)
    found = np.concatenate(drawn)
    weights = rng.integers(1, 9, len(found)) if counted else rng.gamma(1, 1, len(found)) + 0.01
    return SparseRows(ends, found.astype(np.uint64), weights.astype(np.float32))


@pytest.mark.parametrize("rule", [None, Bm25(1.5, 0.75, 20.0), Bm25(0.0, 1.0, 20.0)])
def test_the_bits_of_an_inverted_index(rule: Bm25 | None) -> None:
    """Of long queries and short ones, of passages of none to eighty terms."""
    passages = _random(150, 200, 80, rule is not None, 1)
    queries = _random(12, 220, 60, False, 2)
    shard = InvertedShard.load(build_inverted([(np.arange(150), passages)], 150))
    hits = shard.search(queries, np.arange(150, dtype=np.int32), None, 150, rule)
    column = pa.chunked_array([passages.array(pa.uint32(), pa.float32())])
    assert len(hits.score) > 1_000
    scores = terms_of_column(queries, column, rule, hits.query, hits.position)
    assert scores.tobytes() == hits.score.tobytes()
    left, right = _all_pairs(queries, passages)
    assert (terms_of_column(queries, column, rule, left, right) > 0).sum() == len(hits.score)


def test_a_pair_has_the_same_bits_in_any_batch() -> None:
    queries, passages = _random(5, 90, 30, False, 3), _random(40, 90, 60, False, 4)
    left, right = _all_pairs(queries, passages)
    whole = term_scores(queries, passages, left, right)
    order = np.random.default_rng(5).permutation(len(left))
    assert (term_scores(queries, passages, left[order], right[order]) == whole[order]).all()
    assert term_scores(queries, passages, left[:0], right[:0]).shape == (0,)
    alone = queries.taken(left[77:78]), passages.taken(right[77:78])
    one = term_scores(*alone, *np.zeros((2, 1), np.int64))
    assert one[0] == whole[77]
