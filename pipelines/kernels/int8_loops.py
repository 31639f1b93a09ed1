"""The loops around products of 8-bit matrices, as machine code; see `int8.py`."""

import numpy as np

from shardrank.core.arrays import Float32, Int8, Int32, UInt16
from shardrank.kernels.bf16 import narrow
from shardrank.kernels.compiled import compiled, compiled_fused, compiled_sum
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
        scale = most.view(np.float32)[0] / np.float32(127)
        scales[number] = scale
        factor = np.float32(1) / scale if scale > 0 else np.float32(0)
        round_numbers(row, factor, small, number * size, size)


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


@compiled_fused
def gelu(x: np.float32) -> np.float32:
    """x · Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    erf is the quotient of polynomials that Eigen uses (generic_fast_erf_float): off by 6e-7.
    """
    z = min(max(x * np.float32(0.70710678), np.float32(-3.8325069)), np.float32(3.8325069))
    t = z * z
    p = np.float32(2.2905065861e-4) * t + np.float32(3.4082910107e-3)
    p = p * t + np.float32(5.0955695062e-2)
    p = p * t + np.float32(1.8520832240e-1)
    p = p * t + np.float32(1.1283791435)
    q = np.float32(-1.1791602954e-7) * t + np.float32(2.3547966471e-5)
    q = q * t + np.float32(1.0179625279e-3)
    q = q * t + np.float32(1.4070470171e-2)
    q = q * t + np.float32(1.1098505178e-1)
    q = q * t + np.float32(4.9746925110e-1)
    q = q * t + np.float32(1)
    return np.float32(0.5) * x * (np.float32(1) + z * p / q)


@compiled
def expand_gelu(
    products: Int32, rows: Float32, columns: Float32, bias: Float32, out: Float32
) -> None:
    """As `expand`, then `gelu`."""
    for number in range(len(products)):
        mine, found, scale = products[number], out[number], rows[number]
        for i in range(len(mine)):
            found[i] = gelu(np.float32(mine[i]) * (scale * columns[i]) + bias[i])
