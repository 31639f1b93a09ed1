"""Products of 8-bit rows with a matrix that is laid out for them once, by AVX-512 VNNI.

One instruction adds four products of an unsigned and a signed number to each of sixteen sums. So
rows are counted from -128 on, and sums begin at what that comes to. They stay in registers for a
tile of six rows and 64 columns; the columns' numbers stay in the innermost cache meanwhile.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Int8, Int32
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.vectors import WORD, data, spread

#: Rows, vectors and columns of a tile: 24 sums, and what they are made of, in 32 registers.
_ROWS, _VECTORS, _LANES = 6, 4, 16
COLUMNS = _VECTORS * _LANES

#: Components whose products one instruction adds, and how many such are added to a tile at once.
QUAD, _DEPTH = 4, 128

#: What rows are counted from, less than nothing.
_LOWEST = 128


class LaidOut(NamedTuple):
    """A matrix int8[m, k] of 64 columns or more, as their products take it; k is fours.

    Attributes:
        quads: int32, flat: four components of 64 rows, the next four of the same, and so on, and
            then those of the next 64 rows; the last 64 begin earlier where they would be fewer.
        starts: int32[m], what sums begin at.
    """

    quads: Int32
    starts: Int32


def lay_bytes(matrix: Int8) -> LaidOut:
    """The matrix laid out."""
    m, k = matrix.shape
    firsts = [min(first, m - COLUMNS) for first in range(0, m, COLUMNS)]
    panels = np.stack([matrix[first : first + COLUMNS] for first in firsts])
    quads = panels.reshape(len(firsts), COLUMNS, k // QUAD, QUAD).swapaxes(1, 2)
    starts = -_LOWEST * matrix.sum(axis=1, dtype=np.int32)
    return LaidOut(np.ascontiguousarray(quads).view(np.int32).ravel(), starts)


def plain_bytes(laid_out: LaidOut) -> Int8:
    """The way back: int8[m, k]."""
    m = len(laid_out.starts)
    count = -(-m // COLUMNS)
    panels = laid_out.quads.view(np.int8).reshape(count, -1, COLUMNS, QUAD).swapaxes(1, 2)
    rows = panels.reshape(count * COLUMNS, -1)
    last = rows[len(rows) - COLUMNS :][-(m - (count - 1) * COLUMNS) :]
    return np.concatenate([rows[: (count - 1) * COLUMNS], last])


def multiply_bytes(rows: Int8, right: LaidOut) -> Int32:
    """int32[n, m]: inner products of int8[n, k] with the rows of the matrix, all exact."""
    room = -(-len(rows) // _ROWS) * _ROWS
    out = np.empty((room, len(right.starts)), np.int32)
    _multiply(rows, right.quads, right.starts, out)
    return out[: len(rows)]


@compiled
def _multiply(rows: Int8, quads: Int32, starts: Int32, out: Int32) -> None:
    """Fill int32[n, m], n six or more such; of rows that are missing with anything."""
    size, (room, columns) = rows.shape[1], out.shape
    counted = np.empty((room, size), np.int8)
    for i in range(len(rows)):
        for j in range(size):
            counted[i, j] = rows[i, j] ^ np.int8(-128)
    lefts, depth = counted.reshape(room * size).view(np.int32), size // QUAD
    sums = out.reshape(out.size)
    for panel in range((columns + COLUMNS - 1) // COLUMNS):
        column = min(panel * COLUMNS, columns - COLUMNS)
        for first in range(0, depth, _DEPTH):
            count, right = min(_DEPTH, depth - first), (panel * depth + first) * COLUMNS
            for row in range(0, room, _ROWS):
                left, to = row * depth + first, row * columns + column
                if first == 0:
                    _add(
                        lefts,
                        left,
                        depth,
                        quads,
                        right,
                        count,
                        starts,
                        column,
                        0,
                        sums,
                        to,
                        columns,
                    )
                else:
                    _add(
                        lefts,
                        left,
                        depth,
                        quads,
                        right,
                        count,
                        sums,
                        to,
                        columns,
                        sums,
                        to,
                        columns,
                    )


@written
def _add(
    typing: Any, left: Any, row: Any, step: Any, right: Any, place: Any, count: Any, held: Any,
    at: Any, stride: Any, out: Any, to: Any, width: Any,
) -> Any:  # fmt: skip
    """out[to + i · width + j] = held[at + i · stride + j] + Σ_q left[row + i · step + q] ·
    right[place + q · COLUMNS + j], of a tile's rows i and columns j and q < count, each product of
    four bytes with four. All are flat int32."""
    from numba.core import types  # `compiled` must import numba first

    size = types.int64
    return types.void(
        left, size, size, right, size, size, held, size, size, out, size, size
    ), _write_add


def _write_add(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    left, right, held, out = (data(context, builder, signature, given, n) for n in (0, 3, 6, 9))
    _, row, step, _, place, count, _, at, stride, _, to, width = given
    kind = ir.VectorType(WORD, _LANES)
    vectors = [_LANES * n for n in range(_VECTORS)]

    def spot(values: Any, first: Any, by: Any, number: int, lane: int) -> Any:
        begin = builder.add(first, builder.mul(by, by.type(number)))
        found = builder.gep(values, [builder.add(begin, by.type(lane))])
        return builder.bitcast(found, kind.as_pointer())

    sums = [
        [
            cgutils.alloca_once_value(  # type: ignore[no-untyped-call]
                builder, builder.load(spot(held, at, stride, i, lane), align=4)
            )
            for lane in vectors
        ]
        for i in range(_ROWS)
    ]
    rows = [
        builder.gep(left, [builder.add(row, builder.mul(step, step.type(i)))]) for i in range(_ROWS)
    ]
    with cgutils.for_range(builder, count) as loop:
        begin = builder.add(place, builder.mul(loop.index, place.type(COLUMNS)))
        theirs = [
            builder.load(spot(right, begin, place.type(0), 0, lane), align=4) for lane in vectors
        ]
        for mine, own in zip(rows, sums, strict=True):
            four = spread(builder, builder.load(builder.gep(mine, [loop.index])), _LANES)
            for other, total in zip(theirs, own, strict=True):
                builder.store(_added(builder, builder.load(total), four, other), total)
    for i, own in enumerate(sums):
        for lane, total in zip(vectors, own, strict=True):
            builder.store(builder.load(total), spot(out, to, width, i, lane), align=4)
    return context.get_dummy_value()


def _added(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """VPDPBUSD, which LLVM makes of no other words."""
    from numba.core import cgutils  # `compiled` must import numba first

    kind = total.type
    asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(kind, [kind] * 3), "llvm.x86.avx512.vpdpbusd.512"
    )
    return builder.call(asked, [total, unsigned, signed])
