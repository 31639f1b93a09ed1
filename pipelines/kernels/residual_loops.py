"""The loops of `residual_codes.py`, as machine code."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int64
from shardrank.kernels.code_lanes import decode_fours, decode_ones, decode_twos
from shardrank.kernels.compiled import compiled, inlined
from shardrank.kernels.score_loops import score_pair
from shardrank.kernels.vectors import LANES

Bytes = npt.NDArray[np.uint8]


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


class Coded(NamedTuple):
    """Token vectors in codes, and what these are of.

    Attributes:
        tokens: uint8[t · width], flat: of each the number of its centroid, the lowest byte first,
            and its codes.
        width, number_bytes: of a token; and of the number.
        centroids: float32[known · depth], flat.
        known, depth: of the centroids, and their components.
        levels: float32[2^bits · depth], flat: what stands for a code, code by code.
        bits: 1, 2 or 4.
        plan: of vectors that are brought to a length of 1, see `score_loops.summation`; none: they
            are not.
    """

    tokens: Bytes
    width: int
    number_bytes: int
    centroids: Float32
    known: int
    depth: int
    levels: Float32
    bits: int
    plan: Int64


@compiled
def decode_tokens(coded: Coded, begin: int, count: int, out: Float32) -> int:
    """The way back: a component is its centroid's and the level of its code. Where vectors have a
    length of 1, each is then divided by its L2 norm, or by 1e-12 where that is less, in the order
    of `score_pair`.

    Args:
        coded: of which `count` tokens from `begin` on are decoded.
        out: float32, flat, filled from its beginning on.

    Returns:
        -1; or a number in the tokens that is none of a centroid, at which it ends.
    """
    sums = np.empty(len(coded.plan) + 1, np.float32)
    for token in range(count):
        at = (begin + token) * coded.width
        number = _number(coded, at)
        if number >= coded.known:
            return number
        to = token * coded.depth
        _decode(coded, at + coded.number_bytes, number * coded.depth, out, to)
        if len(coded.plan):
            square = score_pair(out, to, out, to, coded.plan, sums)
            norm = max(np.sqrt(np.float32(square)), np.float32(1e-12))
            mine = out[to : to + coded.depth]  # counted from 0, which makes vectors of the loop
            for i in range(coded.depth):
                mine[i] = mine[i] / norm
    return -1


@inlined
def _number(coded: Coded, at: int) -> int:
    """Of a token's centroid."""
    number = 0
    for i in range(coded.number_bytes):
        number |= int(coded.tokens[at + i]) << (8 * i)
    return number


@inlined
def _decode(coded: Coded, at: int, centre: int, out: Float32, to: int) -> None:
    """A token whose codes stand from `at` on."""
    tokens, centroids, levels = coded.tokens, coded.centroids, coded.levels
    depth, bits = coded.depth, coded.bits
    if bits == 1:
        decode_ones(tokens, at, centroids, centre, levels, depth, out, to)
    elif bits == 2:
        decode_twos(tokens, at, centroids, centre, levels, depth, out, to)
    else:
        decode_fours(tokens, at, centroids, centre, levels, depth, out, to)
    for k in range(depth // LANES * LANES, depth):
        byte = np.int64(tokens[at + (k * bits >> 3)])
        code = (byte >> (k * bits & 7)) & ((1 << bits) - 1)
        out[to + k] = centroids[centre + k] + levels[code * depth + k]
