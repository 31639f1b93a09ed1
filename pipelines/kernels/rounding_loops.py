"""Vectors as 8-bit rows that know how wrong they are, as machine code."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Int8, Int64
from shardrank.kernels.compiled import compiled_sum
from shardrank.kernels.plane_loops import mix_planes

#: A row whose scale lies beyond these is not rounded: its products, or theirs, might underflow or
#: be infinite. It is all error.
_SMALL, _BIG = 2.0**-100, 2.0**60

#: Unit roundoff of float32.
_UNIT = 2.0**-24


class Rounded(NamedTuple):
    """n vectors as 8-bit rows.

    Attributes:
        small: int8[n, d].
        scales: float32[n]: scale times row is the vector, nearly.
        errors: float32[n], at least by how much not: an L2 norm. It holds the roundings of all that
            is computed with a row, too, and those of its pairs' scores.
        lengths: float32[n], at least the L2 norm of scale times row.
    """

    small: Int8
    scales: Float32
    errors: Float32
    lengths: Float32


@compiled_sum
def round_bounded(x: Float32, rows: Int64, width: int, slack: float, out: Rounded) -> None:
    """Mix each row's components, divide by the largest, round to 8 bits, and say how wrong that is.

    Args:
        x: float32[m, d], contiguous.
        rows: int64[n] of its rows, all finite.
        width: see `plane_loops.mix_planes`.
        slack: a row's share, of its norm, of what is computed with it later.
        out: the first n filled.
    """
    size = x.shape[1]
    row, most = np.empty(size, np.float32), np.empty(1, np.int32)
    given, root = x.reshape(x.size), np.sqrt(float(size))
    for number in range(len(rows)):
        mine = out.small[number]
        most[0] = mix_planes(given, rows[number] * size, size, width, row)
        scale = most.view(np.float32)[0] / np.float32(127)
        plain = np.float32(_SMALL) < scale < np.float32(_BIG)
        factor = np.float32(1) / scale if plain else np.float32(0)
        error, squares = np.float32(0), np.int32(0)
        for i in range(size):
            scaled = row[i] * factor if plain else np.float32(0)
            near = np.rint(scaled)
            error += (scaled - near) * (scaled - near)
            whole = np.int32(near)
            squares += whole * whole
            mine[i] = np.int8(whole)
        length = np.sqrt(float(squares))
        wrong = np.sqrt(float(error) * (1 + 2 * size * _UNIT)) + root * 127 * 4 * _UNIT
        wrong = (wrong if plain else root * 128) + slack * (length + wrong)
        out.scales[number] = scale if plain else np.float32(0)
        out.lengths[number] = length * scale * (1 + 4 * _UNIT) if plain else 0
        out.errors[number] = wrong * scale * (1 + 4 * _UNIT) + 2.0**-126
        if not scale < np.float32(_BIG):
            out.errors[number] = np.inf  # its products may be infinite
