"""The loops around products of 8-bit matrices, as machine code; see `int8.py`."""

import numpy as np

from shardrank.core.arrays import Float32, Int8, Int32, UInt16
from shardrank.kernels.bf16 import narrow
from shardrank.kernels.compiled import compiled, compiled_fused, compiled_sum
from shardrank.kernels.gelu_loops import bend_products
from shardrank.kernels.plane_loops import mix_planes, round_numbers

#: A weight float32[m], a bias float32[m] and an epsilon.
Affine = tuple[Float32, Float32, float]


@compiled
def round_rows(x: Float32, width: int, out: Int8, scales: Float32) -> None:
    """Mix each row's components, divide by the largest, and round to 8 bits.

    Args:
        x: float32[n, k], contiguous.
        width: of the planes between which a Hadamard transform mixes: k = width · 2^i, i ≤ 4.
        out: int8[n, k], filled: out · scale is the mixed row, √(k/width) times as long as x.
        scales: float32[n], filled.
    """
    size = x.shape[1]
    row, most = np.empty(size, np.float32), np.empty(1, np.int32)
    given, small = x.reshape(x.size), out.reshape(out.size)
    for number in range(len(x)):
        most[0] = mix_planes(given, number * size, size, width, row)
        scales[number] = _rounded(row, most, small, number * size)


@compiled
def _rounded(row: Float32, most: Int32, small: Int8, at: int) -> np.float32:
    """The scale of a row whose largest magnitude has these bits; the row over it is put at `at`."""
    scale = most.view(np.float32)[0] / np.float32(127)
    factor = np.float32(1) / scale if scale > 0 else np.float32(0)
    round_numbers(row, factor, small, at, len(row))
    return np.float32(scale)


@compiled
def expand(products: Int32, rows: Float32, columns: Float32, bias: Float32, out: Float32) -> None:
    """out[i, j] = products[i, j] · rows[i] · columns[j] + bias[j], all float32[n, m]."""
    for number in range(len(products)):
        _expand_row(products[number], rows[number], columns, bias, out[number])


@compiled_fused
def _expand_row(
    products: Int32, scale: float, columns: Float32, bias: Float32, out: Float32
) -> None:
    for i in range(len(products)):
        out[i] = np.float32(products[i]) * (scale * columns[i]) + bias[i]


@compiled
def expand_bf16(
    products: Int32, rows: Float32, columns: Float32, bias: Float32, out: UInt16
) -> None:
    """As `expand`, into the bits of bf16[n, m]."""
    row = np.empty(products.shape[1], np.float32)
    bits = row.view(np.int32)
    for number in range(len(products)):
        _expand_row(products[number], rows[number], columns, bias, row)
        narrow(bits, out[number])


@compiled_sum
def expand_norm(
    products: Int32,
    rows: Float32,
    columns: Float32,
    bias: Float32,
    stream: Float32,
    norm: Affine,
    out: Float32,
) -> None:
    """As `expand`, then the stream float32[n, m] added, and layer normalisation.

    Args:
        norm: the weight float32[m], the bias float32[m] and the epsilon of the normalisation
            (Ba et al. 2016, arXiv:1607.06450).
    """
    weight, shift, epsilon = norm
    size = np.float32(products.shape[1])
    for number in range(len(products)):
        mine, before = out[number], stream[number]
        _expand_row(products[number], rows[number], columns, bias, mine)
        total = np.float32(0)
        for i in range(len(mine)):
            mine[i] += before[i]
            total += mine[i]
        mean, squares = total / size, np.float32(0)
        for i in range(len(mine)):
            mine[i] -= mean
            squares += mine[i] * mine[i]
        factor = np.float32(1 / np.sqrt(squares / size + epsilon))
        for i in range(len(mine)):
            mine[i] = mine[i] * factor * weight[i] + shift[i]


@compiled
def expand_gelu(
    products: Int32, rows: Float32, columns: Float32, bias: Float32, out: Float32
) -> None:
    """As `expand`, then GELU; all contiguous."""
    size = products.shape[1]
    given, found = products.reshape(products.size), out.reshape(out.size)
    for number in range(len(products)):
        at = number * size
        bend_products(given, at, rows[number], columns, bias, found, at, size)


@compiled
def bend_rows(
    products: Int32,
    rows: Float32,
    columns: Float32,
    bias: Float32,
    width: int,
    out: Int8,
    scales: Float32,
) -> None:
    """As `expand_gelu`, and then `round_rows`, without a way through memory between."""
    size = products.shape[1]
    bent, mixed, most = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(1, np.int32),
    )
    given, small = products.reshape(products.size), out.reshape(out.size)
    for number in range(len(products)):
        bend_products(given, number * size, rows[number], columns, bias, bent, 0, size)
        most[0] = mix_planes(bent, 0, size, width, mixed)
        scales[number] = _rounded(mixed, most, small, number * size)
