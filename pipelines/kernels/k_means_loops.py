"""The loops of `k_means.py`, as machine code."""

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int64
from shardrank.kernels.compiled import compiled, inlined
from shardrank.kernels.score_loops import score_pair

#: Products that are looked through at once.
_STRIDE = 64


@compiled
def settle_nearest(
    products: Float32,
    margins: Float32,
    vectors: Float32,
    centroids: Float32,
    plan: Int64,
    nearest: Int64,
) -> None:
    """The centroid with the largest inner product for each vector; of equal ones the first.

    A matrix product's last bits depend on its shape, so all within the margin of the largest are
    computed again, in one order.

    Args:
        products: float32[n, k], of a matrix product.
        margins: float32[n], twice what a product of each vector may be wrong by.
        vectors, centroids: float32[n · d] and float32[k · d], flat.
        plan: of d components; see `score_loops.summation`.
        nearest: int64[n], overwritten.
    """
    size, sums = plan[-1, 0], np.empty(len(plan) + 1, np.float32)
    lanes = np.empty(_STRIDE, np.float32)
    for row in range(len(products)):
        mine = products[row]
        floor = _most(mine, lanes) - margins[row]
        near, best = _above(mine, floor)
        if near > 1:
            best, most = 0, np.float32(-np.inf)
            for i in range(len(mine)):
                if mine[i] >= floor:
                    score = score_pair(vectors, row * size, centroids, i * size, plan, sums)
                    if score > most:
                        best, most = i, np.float32(score)
        nearest[row] = best


@inlined
def _most(values: Float32, lanes: Float32) -> np.float32:
    """The largest: of every _STRIDE-th first, since one maximum of all would wait for itself."""
    lanes[:] = -np.inf
    whole = len(values) // _STRIDE * _STRIDE
    for begin in range(0, whole, _STRIDE):
        some = values[begin : begin + _STRIDE]
        for i in range(_STRIDE):
            lanes[i] = some[i] if some[i] > lanes[i] else lanes[i]
    most = np.float32(-np.inf)
    for i in range(_STRIDE):
        most = max(most, lanes[i])
    for i in range(whole, len(values)):
        most = max(most, values[i])
    return most


@inlined
def _above(values: Float32, floor: np.float32) -> tuple[int, int]:
    """How many are not below, and which is the last of them."""
    count, last = 0, 0
    for begin in range(0, len(values), _STRIDE):
        some = values[begin : begin + _STRIDE]
        found = False
        for i in range(len(some)):
            found |= some[i] >= floor
        if found:
            for i in range(len(some)):
                if some[i] >= floor:
                    count, last = count + 1, begin + i
    return count, last


@compiled
def add_to_groups(vectors: Float32, groups: Int64, sums: Float64, counts: Int64) -> None:
    """Add each vector to the sum of its group, in the order of vectors.

    Args:
        vectors: float32[n, d].
        groups: int64[n], each less than g.
        sums: float64[g, d].
        counts: int64[g], one more for each vector.
    """
    for row in range(len(vectors)):
        group = groups[row]
        counts[group] += 1
        mine, total = vectors[row], sums[group]
        for i in range(len(mine)):
            total[i] += np.float64(mine[i])
