"""What stands between the products of a gated transformer without padding, as machine code.

Each is one way through memory where torch would take several: sums are in float32, and what the
next product takes is rounded to bf16 once.
"""

import numpy as np

from shardrank.core.arrays import Float32, Int32, UInt16
from shardrank.kernels.bf16 import narrow, widen
from shardrank.kernels.compiled import compiled, compiled_sum
from shardrank.kernels.gelu_loops import bend_numbers, bend_products
from shardrank.kernels.int8_loops import Affine

#: The upper half of 32 bits.
_HIGH = np.int32(-65536)


@compiled
def gate(x: UInt16, out: UInt16) -> None:
    """GELU of the first half of each row, times the second half (Shazeer 2020, arXiv:2002.05202).

    Args:
        x: the bits of bf16[n, 2 · h].
        out: the bits of bf16[n, h], filled.
    """
    half = out.shape[1]
    row, found = np.empty(2 * half, np.float32), np.empty(half, np.float32)
    bits, found_bits = row.view(np.int32), found.view(np.int32)
    for number in range(len(x)):
        widen(x[number], bits)
        bend_numbers(row, half)
        for i in range(half):
            found[i] = row[i] * row[half + i]
        narrow(found_bits, out[number])


@compiled
def expand_gate(
    products: Int32, rows: Float32, columns: Float32, bias: Float32, out: Float32
) -> None:
    """`shardrank.kernels.int8_loops.expand` of int32[n, 2 · h], and then as `gate`: out is
    float32[n, h]."""
    half = out.shape[1]
    given, bent = products.reshape(products.size), out.reshape(out.size)
    for number in range(len(products)):
        mine, found, scale = products[number], out[number], rows[number]
        bend_products(given, number * 2 * half, scale, columns, bias, bent, number * half, half)
        for i in range(half):
            found[i] *= np.float32(mine[half + i]) * (scale * columns[half + i]) + bias[half + i]


@compiled_sum
def expand_join(
    products: Int32,
    rows: Float32,
    columns: Float32,
    bias: Float32,
    stream: Float32,
    norm: Affine,
    out: Float32,
) -> None:
    """`shardrank.kernels.int8_loops.expand`, added to the stream in place; out is the stream
    normalised, float32[n, m]."""
    for number in range(len(products)):
        mine, given, scale = stream[number], products[number], rows[number]
        for i in range(len(mine)):
            mine[i] += np.float32(given[i]) * (scale * columns[i]) + bias[i]
        _normalise(mine, norm, out[number])


@compiled_sum
def join(x: UInt16, stream: Float32, norm: Affine, out: UInt16) -> None:
    """x added to the stream float32[n, m] in place; out is the stream normalised.

    Args:
        x, out: the bits of bf16[n, m]; out is filled.
        stream: float32[n, m].
        norm: a weight float32[m], a bias float32[m] and an epsilon (Ba et al. 2016,
            arXiv:1607.06450).
    """
    row = np.empty(x.shape[1], np.float32)
    bits = row.view(np.int32)
    for number in range(len(x)):
        mine = stream[number]
        widen(x[number], bits)
        for i in range(len(mine)):
            mine[i] += row[i]
        _normalise(mine, norm, row)
        narrow(bits, out[number])


@compiled_sum
def _normalise(x: Float32, norm: Affine, out: Float32) -> None:
    weight, shift, epsilon = norm
    size, total, squares = np.float32(len(x)), np.float32(0), np.float32(0)
    for i in range(len(x)):
        total += x[i]
    mean = total / size
    for i in range(len(x)):
        out[i] = x[i] - mean
        squares += out[i] * out[i]
    factor = np.float32(1 / np.sqrt(squares / size + epsilon))
    for i in range(len(x)):
        out[i] = out[i] * factor * weight[i] + shift[i]


@compiled
def turn_pairs(x: Int32, heads: int, cosines: Float32, sines: Float32) -> None:
    """Turn the planes of the first heads of each token, in place: (a, b) becomes
    (a · cos - b · sin, a · sin + b · cos).

    Args:
        x: int32[t, n, w]; each number is two of bf16, a in its lower half and b in the upper.
        heads: of the n, how many are turned.
        cosines, sines: float32[t, w], of each token's turns.
    """
    for token in range(len(x)):
        c, s = cosines[token], sines[token]
        for head in range(heads):
            mine = x[token, head]
            for i in range(len(mine)):
                word = mine[i]
                a = np.int32(word << np.int32(16)).view(np.float32)
                b = np.int32(word & _HIGH).view(np.float32)
                low = _rounded(np.float32(a * c[i] - b * s[i]))
                high = _rounded(np.float32(a * s[i] + b * c[i]))
                mine[i] = (high & _HIGH) | ((low >> np.int32(16)) & np.int32(0xFFFF))


@compiled
def _rounded(x: np.float32) -> np.int32:
    """The bits of a float32, of which the upper half is the nearest bf16."""
    bits = np.float32(x).view(np.int32)
    return np.int32(bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1)))
