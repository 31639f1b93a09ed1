"""The centroids of an index's lists."""

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.kernels.k_means import k_means
from shardrank.version.sizing import CodecPlan

#: Rounds of k-means: as many as faiss makes for an IVF.
_ROUNDS = 10


def list_centroids(rows: Float32, plan: CodecPlan) -> Float32:
    """float32[nlist, d], of length 1, by spherical k-means: a vector's list is that of the largest
    inner product.

    Args:
        rows: float32[n, d], the sample as the lists see it; n is nlist at least.
        plan: how many lists, and the seed.
    """
    first = np.random.default_rng(plan.seed).choice(len(rows), plan.nlist, replace=False)
    return k_means(rows, rows[first], _ROUNDS, spherical=True)
