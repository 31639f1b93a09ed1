"""k-means against a plain one, and what its bits do not depend on."""

from itertools import pairwise

import numpy as np
import pytest

from shardrank.core.arrays import Float32
from shardrank.kernels.k_means import k_means, means_of, nearest_centroids

RNG = np.random.default_rng(5)
VECTORS = RNG.standard_normal((1_300, 40)).astype(np.float32)


def plain(vectors: Float32, count: int, rounds: int, spherical: bool) -> Float32:
    """Lloyd's rounds in float64, a centroid at a time."""
    centroids = vectors[:count].astype(np.float64)
    for number in range(rounds + 1):
        if number:
            nearest = (vectors @ centroids.astype(np.float32).T).argmax(axis=1)
            for group in np.unique(nearest):
                centroids[group] = vectors[nearest == group].astype(np.float64).mean(axis=0)
        if spherical:
            centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return centroids.astype(np.float32)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("rounds", [0, 1, 6])
def test_rounds_are_those_of_lloyd(rounds: int, spherical: bool) -> None:
    found = k_means(VECTORS, VECTORS[:12], rounds, spherical)
    np.testing.assert_allclose(found, plain(VECTORS, 12, rounds, spherical), rtol=1e-5, atol=1e-6)


def test_more_rounds_come_nearer() -> None:
    def lost(rounds: int) -> float:
        centroids = k_means(VECTORS, VECTORS[:8], rounds, spherical=True)
        return -float((VECTORS * centroids[nearest_centroids(VECTORS, centroids)]).sum())

    assert lost(8) < lost(3) < lost(0)


def test_the_nearest_depends_on_no_batch() -> None:
    centroids = k_means(VECTORS, VECTORS[:70], 2, spherical=True)
    whole = nearest_centroids(VECTORS, centroids)
    pieces = [nearest_centroids(VECTORS[a:b], centroids) for a, b in pairwise([0, 1, 514, 1_300])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(nearest_centroids(VECTORS[::-1], centroids)[::-1], whole)


def test_of_equal_centroids_the_first_is_nearest() -> None:
    centroids = np.repeat(np.eye(8, dtype=np.float32), 3, axis=0)
    near = np.eye(8, dtype=np.float32)[[3, 0, 7]]
    assert nearest_centroids(near, centroids).tolist() == [9, 0, 21]
    barely = np.float32(1) + np.float32(2**-23)
    centroids[10] *= barely
    assert nearest_centroids(near, centroids).tolist() == [10, 0, 21]


def test_a_centroid_without_vectors_stays() -> None:
    begin = np.eye(4, dtype=np.float32)[[0, 0, 1]]
    found = k_means(np.concatenate([begin, np.full((9, 4), 0.5, np.float32)]), begin, 4, True)
    np.testing.assert_array_equal(found[1], begin[1])  # the first of two equal ones takes all


def test_groups_that_are_empty_have_no_mean() -> None:
    vectors = np.array([[1, 2], [3, 4], [10, 20]], np.float32)
    filled, means = means_of(vectors, np.array([4, 4, 1]), 6)
    assert filled.tolist() == [1, 4]
    assert means.tolist() == [[10, 20], [2, 3]]
