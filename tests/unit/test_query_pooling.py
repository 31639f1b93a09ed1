"""Fewer token vectors for a query: sums of clusters, as scipy finds these, and what MaxSim makes of
them."""

import numpy as np
import pytest
from scipy.cluster import hierarchy

from shardrank.core.arrays import Float32
from shardrank.core.token_vectors import TokenVectors
from shardrank.index.maxsim import maxsim_scores
from shardrank.index.query_pooling import pooled_queries

RNG = np.random.default_rng(7)


def drawn(count: int, dim: int = 16) -> Float32:
    """Some of which are near each other, of different lengths."""
    centres = RNG.standard_normal((max(1, count // 4), dim))
    found = centres[RNG.integers(len(centres), size=count)]
    return (found + 0.6 * RNG.standard_normal((count, dim))).astype(np.float32)


def together(texts: list[Float32]) -> TokenVectors:
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return TokenVectors(ends, np.concatenate(texts))


def plainly(vectors: Float32, factor: float) -> Float32:
    """By scipy, in the order of first tokens."""
    clusters = max(1, int(len(vectors) // factor))
    if clusters >= len(vectors):
        return vectors
    units = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    apart = np.maximum(1 - units @ units.T, 0)[np.triu_indices(len(vectors), 1)]
    labels = hierarchy.fcluster(hierarchy.linkage(apart, "ward"), clusters, "maxclust")
    first = sorted({*labels}, key=lambda label: np.flatnonzero(labels == label)[0])
    return np.stack([vectors[labels == label].sum(axis=0) for label in first])


@pytest.mark.parametrize("factor", [1, 1.5, 2, 4, 100])
def test_as_scipy_clusters(factor: float) -> None:
    texts = [drawn(count) for count in (32, 0, 1, 2, 3, 17)]
    found = pooled_queries(together(texts), factor)
    for row, text in enumerate(texts):
        expected = plainly(text, factor)
        assert found.text(row).shape == expected.shape
        np.testing.assert_allclose(found.text(row), expected, atol=1e-5)


def test_a_query_is_the_same_beside_any_others() -> None:
    texts = [drawn(count) for count in (9, 32, 5)]
    whole = pooled_queries(together(texts), 2)
    for row, text in enumerate(texts):
        alone = pooled_queries(together([text]), 2)
        np.testing.assert_array_equal(whole.text(row), alone.vectors)


def test_maxsim_of_sums_is_at_most_that_of_tokens() -> None:
    queries, passages = (together([drawn(count) for count in n]) for n in ((32, 7), (40, 9)))
    left, right = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    whole = maxsim_scores(queries, passages, left, right)
    for factor in (1.5, 2, 4):
        fewer = pooled_queries(queries, factor)
        assert (maxsim_scores(fewer, passages, left, right) < whole + 1e-4).all()


def test_tokens_that_are_the_same_count_each() -> None:
    """Such as masks: as many as there are, and MaxSim stays."""
    axes = np.eye(4, dtype=np.float32)[[0, 1, 2, 2, 2, 2, 2, 2]]
    passages, pair = together([drawn(6, 4)]), np.array([0])
    found = pooled_queries(together([axes]), 8 / 3)
    np.testing.assert_array_equal(found.vectors, np.diag([1, 1, 6, 0])[:3])
    scores = (maxsim_scores(each, passages, pair, pair) for each in (found, together([axes])))
    assert next(scores) == pytest.approx(next(scores), rel=1e-6)


def test_a_vector_of_zeros() -> None:
    found = pooled_queries(together([np.zeros((3, 4), np.float32)]), 3)
    np.testing.assert_array_equal(found.vectors, np.zeros((1, 4)))
