"""Products of 8-bit matrices as sums of pairs of 16-bit products, in machine code.

Every x86-64 adds two neighbouring products of 16-bit numbers exactly, in 32 bits, by one
instruction (pmaddwd; AVX-VNNI's vpdpwssd adds them to a sum, too). Where no instruction does so for
four products of 8-bit numbers, that is the fastest exact product: faster than float32, and much
faster where one side has few rows.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.core.arrays import Int8, Int16, Int32
from shardrank.kernels.compiled import compiled, written

#: Rows of the left and of the right whose sums are held in registers at once: with what they are
#: made of, they fit into the 16 vector registers of AVX2.
_ROWS, _COLUMNS = 2, 4

#: 16-bit numbers in a vector of AVX2, and sums of pairs of them.
_LANES, _SUMS = 16, 8

#: Bytes of a tile of the right, widened to 16 bits: half of the innermost cache.
_TILE_BYTES = 16 << 10


def pair_product(left: Int8, right: Int8) -> Int32:
    """As `products.int8_product`, on one thread."""
    out = np.empty((max(len(left), _ROWS), max(len(right), _COLUMNS)), np.int32)
    _multiply(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return np.ascontiguousarray(out[: len(left), : len(right)])


@compiled
def _multiply(left: Int8, right: Int8, out: Int32) -> None:
    """The right is widened a tile at a time, and each tile is multiplied with all of the left.

    What is missing of a block's rows, or of a vector, is zeros. The last block of a tile, and the
    last tile, begin earlier instead of being smaller: some sums are then written twice.

    Args:
        left: int8[q, d].
        right: int8[n, d].
        out: int32[at least q and _ROWS, at least n and _COLUMNS], filled.
    """
    rows, columns = out.shape
    depth = (left.shape[1] + _LANES - 1) // _LANES * _LANES
    height = max(_TILE_BYTES // (2 * depth + 1) // _COLUMNS, 1) * _COLUMNS
    height = min(height, columns)
    wide, tile = np.zeros((rows, depth), np.int16), np.zeros((height, depth), np.int16)
    _widen(left, wide)
    for begin in range(0, columns, height):
        first = min(begin, columns - height)
        _widen(right[first : first + height], tile)
        for i in range(0, rows, _ROWS):
            for j in range(0, height, _COLUMNS):
                row, column = min(i, rows - _ROWS), min(j, height - _COLUMNS)
                _block(wide, row, tile, column, out, first + column)


@compiled
def _widen(numbers: Int8, out: Int16) -> None:
    for number in range(len(numbers)):
        given, mine = numbers[number], out[number]
        for i in range(len(given)):
            mine[i] = given[i]


@written
def _block(typing: Any, left: Any, row: Any, right: Any, column: Any, out: Any, at: Any) -> Any:
    """out[row + i, at + j] = left[row + i] · right[column + j], for i < _ROWS and j < _COLUMNS.

    Of contiguous int16[.., d] and int32; d is whole vectors.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.void(left, row, right, column, out, at), _write_block


def _write_block(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    left, right, out = (
        context.make_array(signature.args[n])(context, builder, given[n]) for n in (0, 2, 4)
    )
    depth, width = (builder.extract_value(array.shape, 1) for array in (left, out))
    lefts = _row_pointers(builder, left.data, given[1], depth, _ROWS)
    rights = _row_pointers(builder, right.data, given[3], depth, _COLUMNS)
    none = ir.Constant(_vector(32, _SUMS), [0] * _SUMS)
    sums = [[_place(builder, none) for _ in rights] for _ in lefts]
    step = depth.type(_LANES)
    with cgutils.for_range_slice(builder, depth.type(0), depth, step) as (at, _):
        _write_step(builder, lefts, rights, at, sums)
    outs = _row_pointers(builder, out.data, given[1], width, _ROWS)
    for row, mine in zip(outs, sums, strict=True):
        four = _four_totals(builder, [builder.load(one) for one in mine])
        place = builder.gep(row, [given[5]])
        builder.store(four, builder.bitcast(place, four.type.as_pointer()), align=4)
    return context.get_dummy_value()


def _place(builder: Any, value: Any) -> Any:
    """Where a sum stands, which LLVM makes a register of."""
    from numba.core import cgutils

    return cgutils.alloca_once_value(builder, value)  # type: ignore[no-untyped-call]


def _write_step(builder: Any, lefts: Any, rights: Any, at: Any, sums: Any) -> None:
    """The products of one vector of each row, added to the sums."""
    wide = _vector(16, _LANES)

    def load(row: Any) -> Any:
        place = builder.bitcast(builder.gep(row, [at]), wide.as_pointer())
        return builder.sext(builder.load(place, align=2), _vector(32, _LANES))

    mine = [load(row) for row in lefts]
    for column, row in enumerate(rights):
        other = load(row)
        for number in range(len(lefts)):
            place = sums[number][column]
            pairs = _pairs(builder, builder.mul(mine[number], other))
            builder.store(builder.add(builder.load(place), pairs), place)


def _pairs(builder: Any, products: Any) -> Any:
    """Sums of neighbours. LLVM knows that of extended 16-bit numbers' products as pmaddwd."""
    even, odd = (_picked(builder, products, products, range(i, _LANES, 2)) for i in (0, 1))
    return builder.add(even, odd)


def _four_totals(builder: Any, sums: Any) -> Any:
    """The totals of four vectors of eight, as a vector of four."""
    a, b, c, d = (
        builder.add(*(_picked(builder, one, one, range(i, i + 4)) for i in (0, 4))) for one in sums
    )
    both = [_added(builder, *pair) for pair in ((a, b), (c, d))]
    return _added(builder, *both)


def _added(builder: Any, left: Any, right: Any) -> Any:
    """Sums of neighbours in one vector of four after another."""
    even, odd = (_picked(builder, left, right, range(i, 8, 2)) for i in (0, 1))
    return builder.add(even, odd)


def _row_pointers(builder: Any, data: Any, first: Any, width: Any, count: int) -> list[Any]:
    """Where rows begin: `first` and those after it."""
    rows = [builder.add(first, first.type(i)) for i in range(count)]
    return [builder.gep(data, [builder.mul(row, width)]) for row in rows]


def _picked(builder: Any, left: Any, right: Any, lanes: range) -> Any:
    """These lanes of two vectors laid one after the other."""
    return builder.shuffle_vector(left, right, ir.Constant(_vector(32, len(lanes)), [*lanes]))


def _vector(bits: int, lanes: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), lanes)
