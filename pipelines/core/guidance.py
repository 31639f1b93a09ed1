"""Guided query refinement: a query's vector moved until its scores agree with those of another
retriever (Uzan et al., Guided Query Refinement, arXiv 2510.05038).

Over a pool of documents, with p(z) = softmax(V z / temperature), V their vectors, z the query's,
and g = softmax of the guide's scores on one scale, the target is

    m = (1 - weight) p(z0) + weight g

and each step goes down the gradient of KL(m || p(z)), which is V' (p(z) - m) / temperature. That
divergence is convex in z. The authors take Adam, and scores as they are: here it is plain
descent, which does not depend on the axes, and the guide's scores are those less their mean,
divided by their standard deviation, since a guide such as BM25 has a scale of its own.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int32
from shardrank.core.topk import run_starts

#: A smaller deviation of a guide's scores says nothing: all are taken as equal.
LEAST = 1e-9


@dataclass(frozen=True)
class Guidance:
    """Which retriever guides, how many first documents of each are the pool, and how far it goes.

    Attributes:
        by: the guide's name.
        documents: of each of the two that are in the pool.
        steps, rate: of the descent.
        weight: the guide's share in the target, from 0 to 1.
        temperature: by which scores are divided before the softmax.
    """

    by: str
    documents: int
    steps: int
    rate: float
    weight: float
    temperature: float


def guided(
    queries: Float32, query: Int32, vectors: Float32, scores: Float64, how: Guidance
) -> Float32:
    """float32[q, d]: the queries' vectors after `how.steps` steps; as they were without a pool.

    Args:
        queries: float32[q, d].
        query: int32[m], ascending: in whose pool each document is.
        vectors: float32[m, d] of the documents.
        scores: float64[m], the guide's; NaN where it did not find the document, which then counts
            as its last one of the query.
        how: to move them.
    """
    moved = queries.copy()
    bounds = [*run_starts(query), len(query)]
    for start, end in pairwise(bounds):
        row = query[start]
        pool = vectors[start:end].astype(np.float64)
        moved[row] = _descend(queries[row].astype(np.float64), pool, scores[start:end], how)
    return moved


def _descend(query: Float64, pool: Float64, scores: Float64, how: Guidance) -> Float64:
    """float64[d]"""
    target = (1 - how.weight) * _softmax(pool @ query / how.temperature)
    target += how.weight * _softmax(_scaled(scores))
    for _ in range(how.steps):
        off = _softmax(pool @ query / how.temperature) - target
        query = query - how.rate / how.temperature * (off @ pool)
    return query


def _scaled(scores: Float64) -> Float64:
    """Mean 0 and deviation 1; all 0 where they are equal, or where the guide found none."""
    found = np.isfinite(scores)
    if not found.any():
        return np.zeros_like(scores)
    filled = np.where(found, scores, scores[found].min())
    deviation = filled.std()
    return (filled - filled.mean()) / deviation if deviation > LEAST else np.zeros_like(filled)


def _softmax(scores: Float64) -> Float64:
    powers: Float64 = np.exp(scores - scores.max())
    powers /= powers.sum()
    return powers
