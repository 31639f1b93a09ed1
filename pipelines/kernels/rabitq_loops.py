"""RaBitQ's rotation and codes, as machine code; `shardrank.index.rabitq` says what they are for.

A code of `bits` b, 1, 2 or 4, has 8/b planes: the number of component i is the b bits from bit
b·(i // bytes) on of byte i % bytes, so that a plane's components lie side by side. Number k stands
for the level k - (2^b - 1)/2.
"""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int8, Int16
from shardrank.kernels.compiled import compiled, compiled_bare, inlined

UInt8 = npt.NDArray[np.uint8]


@compiled
def rotate(rows: Float32, signs: Int8, out: Float32) -> None:
    """Random signs, a Hadamard transform, and a step of Kac's walk, for each row of signs.

    The transform is of the first 2^k ≤ d components in even rounds and of the last 2^k in odd ones;
    where d is more, each component of the lower half is then mixed with one of the upper half. Each
    step is orthonormal, and rows are turned one by one, so that a row's bits depend on no other.

    Args:
        rows: float32[n, d].
        signs: int8[rounds, d] of 1 and -1.
        out: float32[n, d], filled; not `rows`.
    """
    dim = rows.shape[1]
    width = 1
    while 2 * width <= dim:
        width *= 2
    scale, half = np.float32(1 / np.sqrt(width)), dim // 2
    root = np.float32(np.sqrt(0.5))
    for row in range(len(rows)):
        mine = out[row]
        mine[:] = rows[row]
        for turn in range(len(signs)):
            for i in range(dim):
                mine[i] *= np.float32(signs[turn, i])
            begin = 0 if turn % 2 == 0 else dim - width
            _hadamard(mine[begin : begin + width], scale)
            if width < dim:
                for i in range(half):
                    low, high = mine[i], mine[dim - half + i]
                    mine[i], mine[dim - half + i] = (low + high) * root, (low - high) * root


@compiled
def _hadamard(values: Float32, scale: np.float32) -> None:
    """float32[2^k] in place, by butterflies, then times the scale."""
    step = 1
    while step < len(values):
        for begin in range(0, len(values), 2 * step):
            for i in range(begin, begin + step):
                low, high = values[i], values[i + step]
                values[i], values[i + step] = low + high, low - high
        step *= 2
    for i in range(len(values)):
        values[i] *= scale


@compiled
def encode_rows(rows: Float32, bits: int, tries: Float32, codes: UInt8, factors: Float32) -> None:
    """The code of each row whose direction is the nearest to the row's, of those that are tried.

    Args:
        rows: float32[n, d].
        bits: of a component: 1, 2 or 4.
        tries: float32[t], steps between levels that are tried, as shares of the root mean square
            of a row's components, inverted.
        codes: uint8[n, bytes], filled.
        factors: float32[n], filled with |x|² / <levels, x>; 0 of a row of zeros.
    """
    half, (count, dim), width = 1 << (bits - 1), rows.shape, codes.shape[1]
    for row in range(count):
        energy = 0.0
        for i in range(dim):
            energy += np.float64(rows[row, i]) * np.float64(rows[row, i])
        codes[row] = 0
        factors[row] = 0
        if energy < 1e-60:  # of which steps would be infinite
            continue
        length, best, step = np.sqrt(energy / dim), -1.0, np.float32(0)
        for trial in tries:
            steps = np.float32(trial / length)
            dot, square = _along(rows[row], steps, half)
            if dot * dot > best * square:
                best, step = dot * dot / square, steps
                factors[row] = energy / dot
        for i in range(dim):
            value = rows[row, i]
            place = min(int(abs(value) * step), half - 1)
            number = half + place if value >= 0 else half - 1 - place
            codes[row, i % width] |= np.uint8(number << (bits * (i // width)))


@compiled
def _along(row: Float32, steps: np.float32, half: int) -> tuple[float, float]:
    """<levels, row> and |levels|² of levels by so many steps a unit, the outermost half - ½."""
    dot, square = np.float32(0), np.float32(0)
    outermost = np.float32(half - 1)
    for value in row:
        level = min(np.floor(abs(value) * steps), outermost) + np.float32(0.5)
        dot += level * abs(value)
        square += level * level
    return np.float64(dot), np.float64(square)


@compiled_bare
def decode_rows(codes: UInt8, heights: Int16, base: Int16, bits: int, out: Int8) -> None:
    """base + 2 · level · height, in units of 1/256, rounded to whole numbers.

    Args:
        codes: uint8[n, bytes].
        heights: int16[n]; with the base no sum is beyond 127 · 256.
        base: int16[d].
        bits: of a component.
        out: int8[n, d], filled.
    """
    width, dim = codes.shape[1], len(base)
    for row in range(len(codes)):
        height = int(heights[row])
        for plane in range(8 // bits):
            begin = plane * width
            end = min(begin + width, dim)
            _decode_plane(codes[row], height, base[begin:end], bits, plane, out[row, begin:end])


@inlined
def _decode_plane(codes: UInt8, height: int, base: Int16, bits: int, plane: int, out: Int8) -> None:
    mask, shift = np.int32((1 << bits) - 1), np.int32(plane * bits)
    for i in range(len(out)):  # slices, since an index that may be negative is no vector
        level = np.int32(2 * ((np.int32(codes[i]) >> shift) & mask) - mask)
        out[i] = np.int8(np.int32(np.int32(base[i]) + np.int32(level * height) + 128) >> 8)


@compiled
def unpack_levels(codes: UInt8, bits: int, out: Float32) -> None:
    """float32[n, d]: the levels of codes uint8[n, bytes]."""
    mask, width = (1 << bits) - 1, codes.shape[1]
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            number = (codes[row, i % width] >> (bits * (i // width))) & mask
            out[row, i] = np.float32(number) - np.float32(mask) * np.float32(0.5)
