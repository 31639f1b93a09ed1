"""Feedback: a query moved towards the first documents that it found, as if they were relevant.

Of dense vectors it is Rocchio's (1971): α·query + β·mean of the documents' vectors. Of terms it is
like RM3 (Abdul-Jaleel et al. 2004): α·query + β·the mean distribution over the documents' strongest
terms, which weighs as much as the query does.
"""

from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.sparse import SparseRows, added, strongest


@dataclass(frozen=True)
class Feedback:
    """By how many first documents a query is moved, and how far; `terms` of them are added where
    the vectors are sparse."""

    documents: int
    alpha: float
    beta: float
    terms: int


def towards(queries: Float32, query: Int32, vectors: Float32, alpha: float, beta: float) -> Float32:
    """float32[q, d]: α·query + β·the mean vector of its documents; α·query where it has none.

    Args:
        queries: float32[q, d].
        query: int32[m], ascending: whose document each is.
        vectors: float32[m, d] of the documents.
        alpha, beta: weights.
    """
    moved = np.float32(alpha) * queries
    asking, starts, counts = np.unique(query, return_index=True, return_counts=True)
    if len(asking):
        sums = np.add.reduceat(vectors, starts, axis=0)
        moved[asking] += np.float32(beta) * (sums / counts[:, None].astype(np.float32))
    return moved


def with_terms(
    queries: SparseRows, query: Int32, documents: SparseRows, alpha: float, beta: float, terms: int
) -> SparseRows:
    """Queries with the strongest terms of their documents.

    Args:
        queries: q rows of weights, none negative.
        query: int32[m], ascending: whose document each is.
        documents: m rows of weights, none negative, in the measure of the queries'.
        alpha, beta: weights.
        terms: of the documents that are added to a query, at most; of equal ones the lowest.
    """
    mean = strongest(_mean(query, documents, queries.rows), terms)
    weight = _sums(queries)
    own, theirs = _rows(queries), _rows(mean)
    theirs_weights = np.float32(beta) * mean.weights * weight[theirs]
    kept = np.float32(alpha) * queries.weights
    return added(
        np.concatenate([own, theirs]),
        np.concatenate([queries.terms, mean.terms]),
        np.concatenate([kept, theirs_weights]),
        queries.rows,
    )


def _mean(query: Int32, documents: SparseRows, queries: int) -> SparseRows:
    """Of each query's documents, each as a distribution; a document without terms counts as one."""
    row = _rows(documents)
    counts = np.bincount(query, minlength=queries)
    share = documents.weights / np.maximum(_sums(documents), np.finfo(np.float32).tiny)[row]
    owner = query[row].astype(np.int64)
    share = share / counts[owner].astype(np.float32)
    return added(owner, documents.terms, share.astype(np.float32), queries)


def _rows(rows: SparseRows) -> Int64:
    """int64[m]: the row of each term."""
    return np.repeat(np.arange(rows.rows), np.diff(rows.ends))


def _sums(rows: SparseRows) -> Float32:
    """float32[n]: of each row's weights."""
    ends = np.concatenate([[0], np.cumsum(rows.weights, dtype=np.float64)])[rows.ends]
    return np.diff(ends).astype(np.float32)
