"""The one formula of a pair's score."""

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError
from shardrank.kernels.score_loops import score_pairs, summation


def pair_scores(queries: Float32, query: Int32 | Int64, vectors: Float32, rows: Int64) -> Float32:
    """Inner products float32[m] of the pairs (queries[query[i]], vectors[rows[i]]).

    Products are rounded to float32 and added up by numpy's pairwise summation, whose order
    depends on nothing but the dimension. So a pair has the same bits in any batch, which no
    matrix product promises.

    Args:
        queries: float32[Q, d].
        query: int32[m] or int64[m].
        vectors: float32[n, d].
        rows: int64[m].
    """
    scores = np.empty(len(rows), dtype=np.float32)
    flat = [np.ascontiguousarray(values).reshape(-1) for values in (queries, vectors)]
    score_pairs(flat[0], query, flat[1], rows, summation(queries.shape[1]), scores)
    return scores


def check_queries(queries: Float32) -> None:
    """Raises InputError where a query vector is not finite."""
    wrong = np.flatnonzero(~np.isfinite(queries).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(queries)} query vectors are not finite, first {wrong[0]}.",
            "Look at the text of that query and at the encoder's dtype.",
        )
