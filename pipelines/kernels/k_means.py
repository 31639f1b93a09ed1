"""k-means by inner product (Lloyd, Least Squares Quantization in PCM, 1982), and the nearest of
centroids, whose bits depend neither on a batch nor on threads.

A round takes the products of all vectors and centroids, at the CPU's peak, and scores again only
what lies within a product's rounding of the largest.
"""

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int64
from shardrank.kernels.k_means_loops import add_to_groups, settle_nearest
from shardrank.kernels.score_loops import summation

#: Vectors whose products with all centroids are made at once.
_BLOCK = 512
#: Of a float32's rounding.
_ROUNDING = 2.0**-23


def nearest_centroids(vectors: Float32, centroids: Float32) -> Int64:
    """int64[n]: for each of float32[n, d] which of float32[k, d] has the largest inner product; of
    equal ones the first. The same in any batch and on any number of threads."""
    plan, flat = summation(vectors.shape[1]), np.ascontiguousarray(centroids).reshape(-1)
    longest = float(np.sqrt(np.square(centroids).sum(axis=1).max(initial=0)))
    found, across = np.empty(len(vectors), np.int64), np.ascontiguousarray(centroids.T)
    for begin in range(0, len(vectors), _BLOCK):
        some = np.ascontiguousarray(vectors[begin : begin + _BLOCK])
        margins = np.linalg.norm(some, axis=1) * np.float32(
            4 * vectors.shape[1] * _ROUNDING * longest
        )
        settle_nearest(
            some @ across, margins, some.reshape(-1), flat, plan, found[begin : begin + _BLOCK]
        )
    return found


def k_means(vectors: Float32, begin: Float32, rounds: int, spherical: bool) -> Float32:
    """float32[k, d]: centroids. One that no vector is nearest to stays where it is.

    Args:
        vectors: float32[n, d].
        begin: float32[k, d], where centroids begin: vectors drawn at random, for one.
        rounds: of assigning and moving.
        spherical: whether centroids are brought to a length of 1.
    """
    centroids = _placed(begin.astype(np.float64), spherical)
    for _ in range(rounds):
        nearest = nearest_centroids(vectors, centroids)
        filled, means = means_of(vectors, nearest, len(centroids))
        centroids[filled] = _placed(means, spherical)
    return centroids


def means_of(vectors: Float32, groups: Int64, count: int) -> tuple[Int64, Float64]:
    """int64[g], which of `count` groups have vectors; and float64[g, d], their means.

    Args:
        vectors: float32[n, d].
        groups: int64[n], the group of each.
        count: of groups.
    """
    sums, counts = np.zeros((count, vectors.shape[1])), np.zeros(count, np.int64)
    add_to_groups(np.ascontiguousarray(vectors), groups, sums, counts)
    filled = np.flatnonzero(counts)
    return filled, sums[filled] / counts[filled, None]


def _placed(centroids: Float64, spherical: bool) -> Float32:
    if spherical:
        norms = np.linalg.norm(centroids, axis=1, keepdims=True)
        centroids = centroids / np.maximum(norms, 1e-12)
    return centroids.astype(np.float32)
