"""Scores of any pairs by a column's values, against those that search gives its hits."""

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrow_columns import vector_column
from shardrank.core.token_vectors import TokenVectors
from shardrank.index.bm25 import Bm25
from shardrank.index.column_scores import ColumnRule, score_column
from shardrank.index.maxsim import maxsim_scores
from shardrank.index.pairs import pair_scores
from tests.unit.test_inverted import RULE, drawn, shard_of, sparse


@pytest.mark.parametrize(
    ("kind", "rule"), [("counts", RULE), ("counts", None), ("halves", None), ("floats", None)]
)
def test_terms_score_as_the_inverted_index_does(kind: str, rule: Bm25 | None) -> None:
    rng = np.random.default_rng(5)
    vectors, asked = drawn(rng, 40, kind), drawn(rng, 6, "floats")
    live, documents = np.ones(40, np.bool_), np.arange(40, dtype=np.int32)
    hits = shard_of(vectors, live).search(sparse(asked), documents, live, 40, rule)
    kinds = pa.uint64(), pa.float32()
    values, queries = (pa.chunked_array([sparse(each).array(*kinds)]) for each in (vectors, asked))
    score = score_column(values, ColumnRule(bm25=rule))
    query, row = (each.ravel().astype(np.int32) for each in np.indices((6, 40)))
    scores = score(queries, query, row.astype(np.int64)).reshape(6, 40)
    found = np.zeros((6, 40), np.float32)
    found[hits.query, hits.position] = hits.score
    assert np.array_equal(scores, found), "and 0 where no term is shared"


def test_vectors_and_tokens_score_as_their_searches_do() -> None:
    rng = np.random.default_rng(6)
    queries, vectors = (rng.normal(size=(n, 8)).astype(np.float32) for n in (3, 9))
    query, row = np.array([0, 2, 2], np.int32), np.array([8, 0, 3])
    columns = [pa.chunked_array([vector_column(each)]) for each in (queries, vectors)]
    scores = score_column(columns[1], ColumnRule())(columns[0], query, row)
    assert np.array_equal(scores, pair_scores(queries, query, vectors, row))
    asked = TokenVectors(np.array([0, 1, 1, 3]), queries)
    held = TokenVectors(np.array([0, 2, 3, 3, 4, 5, 6, 7, 8, 9]), vectors)
    tokens = [pa.chunked_array([each.array(pa.float32())]) for each in (asked, held)]
    scores = score_column(tokens[1], ColumnRule())(tokens[0], query, row)
    assert np.array_equal(scores, maxsim_scores(asked, held, query, row), equal_nan=True)
