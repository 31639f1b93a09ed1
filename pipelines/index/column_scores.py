"""Scores of any pairs of queries and passages by what a column holds of them: each kind of value by
the one formula that search orders hits by, so a pair's bits are those of its hit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.sparse import SparseRows
from shardrank.core.token_vectors import TokenVectors
from shardrank.index.bm25 import Bm25
from shardrank.index.maxsim import maxsim_of_column
from shardrank.index.pairs import pair_scores
from shardrank.kernels.inverting_loops import add_up
from shardrank.kernels.sparse_pair_loops import score_sparse_pairs

#: A block's queries, as their file has them; int32[m] queries and int64[m] rows → float32[m]. A
#: passage without tokens has no score, but NaN.
ScorePairs = Callable[[pa.ChunkedArray, Int32, Int64], Float32]


@dataclass(frozen=True)
class ColumnRule:
    """What a column's values are scored by, beside themselves: what codes of token vectors are of;
    and what makes weights of counted words. None: they need none."""

    codec: bytes | None = None
    bm25: Bm25 | None = None


def score_column(values: pa.ChunkedArray, rule: ColumnRule) -> ScorePairs:
    """What scores pairs with the passages of a part, whose values are FixedSizeList<fp16 or fp32>,
    List<Struct<term, weight>>, or those of tokens as `maxsim_of_column` has them."""
    if pa.types.is_fixed_size_list(values.type):
        return _by_vectors(matrix(values))
    if pa.types.is_struct(values.type.value_type):
        return _by_terms(SparseRows.of(values), rule.bm25)
    return lambda queries, query, rows: maxsim_of_column(
        TokenVectors.of(queries), values, rule.codec, query, rows
    )


def _by_vectors(vectors: Float32) -> ScorePairs:
    return lambda queries, query, rows: pair_scores(matrix(queries), query, vectors, rows)


def _by_terms(passages: SparseRows, bm25: Bm25 | None) -> ScorePairs:
    norms = np.empty(0, np.float32)
    if bm25:
        lengths = np.empty(passages.rows, np.float32)
        add_up(passages.ends, passages.weights, lengths)
        norms = bm25.norms(lengths)

    def scored(queries: pa.ChunkedArray, query: Int32, rows: Int64) -> Float32:
        asked, scores = SparseRows.of(queries), np.empty(len(rows), np.float32)
        score_sparse_pairs(
            asked.ends,
            asked.terms,
            asked.weights,
            query,
            passages.ends,
            passages.terms,
            passages.weights,
            norms,
            rows,
            scores,
        )
        return scores

    return scored
