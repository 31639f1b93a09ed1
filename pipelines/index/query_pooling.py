"""Fewer token vectors for a query: sums of those that are alike.

CRISP (Veneroso et al. 2025, arXiv:2505.11471) clusters the vectors of queries and documents, keeps
the clusters' means, and trains its model for that. Here the model is any, so a query's clusters
keep their sums: where the tokens of a cluster have the same nearest token in a passage, and those
that are alike mostly do, the largest product of the sum is the sum of their largest products. So a
cluster counts as many tokens as it has, such as the masks that queries are filled up with. What
MaxSim makes of sums is at most what it makes of the tokens.
"""

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.core.token_vectors import TokenVectors
from shardrank.kernels.rotation_loops import along
from shardrank.kernels.ward_loops import ward


def pooled_queries(queries: TokenVectors, factor: float) -> TokenVectors:
    """A query keeps one vector for so many tokens, rounded down, but one at least; in the order of
    each cluster's first token (Ward, on 1 - cosine). A query has the same bits beside any others.

    Args:
        queries: finite.
        factor: at least 1.
    """
    each = [_pooled(queries.text(row), factor) for row in range(queries.rows)]
    ends = np.cumsum([0, *map(len, each)], dtype=np.int64)
    return TokenVectors(ends, np.concatenate([queries.vectors[:0], *each]))


def _pooled(vectors: Float32, factor: float) -> Float32:
    clusters = max(1, int(len(vectors) // factor))
    if clusters >= len(vectors):
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Float32 = vectors / np.maximum(lengths, np.float32(1e-12))
    labels = np.empty(len(vectors), np.int64)
    ward(along(units, units), clusters, labels)
    sums = np.zeros((clusters, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors)
    return sums
