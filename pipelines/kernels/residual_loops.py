"""The loops of `residual_codes.py`, as machine code."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.score_loops import score_pair

Bytes = npt.NDArray[np.uint8]


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
    for row in range(len(products)):
        mine = products[row]
        most = np.float32(-np.inf)
        for i in range(len(mine)):
            most = max(most, mine[i])
        floor = most - margins[row]
        near, best = 0, 0
        for i in range(len(mine)):
            if mine[i] >= floor:
                near += 1
                best = i
        if near > 1:
            best, most = 0, np.float32(-np.inf)
            for i in range(len(mine)):
                if mine[i] >= floor:
                    score = score_pair(vectors, row * size, centroids, i * size, plan, sums)
                    if score > most:
                        best, most = i, np.float32(score)
        nearest[row] = best


@compiled
def pack(
    vectors: Float32, centroids: Float32, nearest: Int64, cutoffs: Float32, bits: int, out: Bytes
) -> None:
    """The codes of what is left of vectors without their centroids: of each component the number of
    cut-offs below it, in bits from the lowest of each byte up.

    Args:
        vectors, centroids: float32[n, d] and float32[k, d].
        nearest: int64[n].
        cutoffs: float32[d, 2^bits - 1], ascending.
        bits: 1, 2 or 4.
        out: uint8[n, d · bits / 8], overwritten.
    """
    in_byte = 8 // bits
    for row in range(len(vectors)):
        mine, centre, codes = vectors[row], centroids[nearest[row]], out[row]
        for place in range(len(codes)):
            byte = 0
            for i in range(in_byte):
                component = place * in_byte + i
                left = mine[component] - centre[component]
                code = 0
                for cut in range(cutoffs.shape[1]):
                    code += left > cutoffs[component, cut]
                byte |= code << (i * bits)
            codes[place] = byte


@compiled
def unpack(
    codes: Bytes, nearest: Int64, centroids: Float32, weights: Float32, bits: int, out: Float32
) -> None:
    """The way back: a component is its centroid's and the weight of its code.

    Args:
        codes: uint8[n, d · bits / 8].
        nearest: int64[n].
        centroids: float32[k, d].
        weights: float32[d · 2^bits], component by component.
        bits: 1, 2 or 4.
        out: float32[n, d], overwritten.
    """
    in_byte, mask = 8 // bits, (1 << bits) - 1
    for row in range(len(codes)):
        mine, centre, vector = codes[row], centroids[nearest[row]], out[row]
        for place in range(len(mine)):
            byte = np.int64(mine[place])
            for i in range(in_byte):
                component = place * in_byte + i
                code = (byte >> (i * bits)) & mask
                vector[component] = centre[component] + weights[(component << bits) + code]


@compiled
def divide_by_norms(vectors: Float32, size: int, plan: Int64) -> None:
    """Each vector of float32[n · d], flat, by its L2 norm, or by 1e-12 where that is less, in
    place; in the order of `score_pair`."""
    sums = np.empty(len(plan) + 1, np.float32)
    for begin in range(0, len(vectors), size):
        square = score_pair(vectors, begin, vectors, begin, plan, sums)
        norm = max(np.sqrt(np.float32(square)), np.float32(1e-12))
        for i in range(begin, begin + size):
            vectors[i] = vectors[i] / norm
