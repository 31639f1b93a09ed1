"""Scores of pairs of sparse vectors, as machine code."""

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled


@compiled
def score_sparse_pairs(
    ends: Int64,
    terms: UInt64,
    weights: Float32,
    query: Int32 | Int64,
    row_ends: Int64,
    row_terms: UInt64,
    row_weights: Float32,
    norms: Float32,
    rows: Int32 | Int64,
    out: Float32,
) -> None:
    """float32[m], filled: of each pair the sum, as the terms ascend, of the products of both
    weights, each rounded to float32.

    Args:
        ends, terms, weights: queries, as `SparseRows`.
        query: int[m].
        row_ends, row_terms, row_weights: passages, likewise.
        norms: float32[rows]: a passage's weight w counts as w / (w + its norm); float32[0]: as w.
        rows: int[m].
    """
    for pair in range(len(rows)):
        row, total = rows[pair], np.float32(0)
        at, end = row_ends[row], row_ends[row + 1]
        for i in range(ends[query[pair]], ends[query[pair] + 1]):
            while at < end and row_terms[at] < terms[i]:
                at += 1
            if at == end:
                break
            if row_terms[at] == terms[i]:
                weight = row_weights[at]
                if len(norms):
                    weight = weight / max(weight + norms[row], np.float32(1e-30))
                total += weights[i] * weight
        out[pair] = total
