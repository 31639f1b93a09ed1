"""Scores of any pairs of queries and passages by what a column holds of them: each kind of value by
the one formula that search orders hits by, so a pair's bits are those of its hit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.arrow_columns import matrix
from shardrank.core.sparse import SparseRows
from shardrank.index.bm25 import Bm25
from shardrank.index.maxsim import StoredTokens, maxsim_of_column
from shardrank.index.pairs import pair_scores
from shardrank.index.term_pairs import terms_of_column

#: Queries as their file has them; int[m] queries and int[m] rows → float32[m]. A passage without
#: tokens has no score, but NaN.
ScorePairs = Callable[[pa.ChunkedArray, Int32 | Int64, Int32 | Int64], Float32]


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
        return lambda queries, query, rows: terms_of_column(
            SparseRows.of(queries), values, rule.bm25, query, rows
        )
    return lambda queries, query, rows: maxsim_of_column(
        StoredTokens.of(queries), values, rule.codec, query, rows
    )


def _by_vectors(vectors: Float32) -> ScorePairs:
    return lambda queries, query, rows: pair_scores(
        matrix(queries), query, vectors, rows.astype(np.int64, copy=False)
    )
