"""A Hadamard transform between planes of a row, and its rounding, in vectors, as machine code."""

from typing import Any

from llvmlite import ir

from shardrank.core.arrays import Float32
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.vectors import FLOAT, WORD, blocks, data, filled, load, spread, store

#: A float's bits without its sign compare as integers do.
_MAGNITUDE = 0x7FFFFFFF
#: A float to which this is added has its nearest integer as its lowest bits.
_NEAREST = 12582912.0


@compiled
def mix_planes(x: Float32, at: int, size: int, width: int, out: Float32) -> int:
    """Of x[at : at + size], which is up to 16 planes of `width` numbers, out[:size] becomes the
    Hadamard transform between planes, without its scale; both flat, out may be x where `at` is 0.

    Returns:
        The bits of the largest magnitude; those of a NaN are larger than all.
    """
    planes = size // width
    if planes == 16:
        most = _sixteen(x, at, width, out)
    elif planes == 8:
        most = _eight(x, at, width, out)
    elif planes == 4:
        most = _four(x, at, width, out)
    elif planes == 2:
        most = _two(x, at, width, out)
    else:
        most = _one(x, at, width, out)
    return int(most)


def _mix(planes: int) -> Any:
    """`mix_planes` of so many planes."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        from numba.core import cgutils  # `compiled` must import numba first

        x, out = (data(context, builder, signature, given, n) for n in (0, 3))
        x, width = builder.gep(x, [given[1]]), given[2]
        most = cgutils.alloca_once_value(builder, WORD(0))  # type: ignore[no-untyped-call]
        for lanes, begin, end in blocks(builder, width):
            step = width.type(lanes)
            with cgutils.for_range_slice(builder, begin, end, step) as (column, _):
                found = _transformed(_planes(builder, x, column, width, planes, lanes), builder)
                for number, row in enumerate(found):
                    store(builder, row, _plane(builder, out, column, width, number))
                largest = _largest(builder, found, lanes)
                _raise(builder, most, largest)
        return builder.sext(builder.load(most), ir.IntType(64))

    def typed(typing: Any, x: Any, at: Any, width: Any, out: Any) -> Any:
        from numba.core import types  # `compiled` must import numba first

        return types.int64(x, types.int64, types.int64, out), write

    return written(typed)


def _planes(builder: Any, x: Any, column: Any, width: Any, planes: int, lanes: int) -> list[Any]:
    """One vector of each plane."""
    kind = ir.VectorType(FLOAT, lanes)
    return [load(builder, _plane(builder, x, column, width, n), kind) for n in range(planes)]


def _plane(builder: Any, x: Any, column: Any, width: Any, number: int) -> Any:
    return builder.gep(x, [builder.add(column, builder.mul(width, width.type(number)))])


def _transformed(rows: list[Any], builder: Any) -> list[Any]:
    """Sums and differences of neighbours, then of neighbours' neighbours, and so on."""
    half = 1
    while half < len(rows):
        for i in range(len(rows)):
            if not i & half:
                a, b = rows[i], rows[i + half]
                rows[i], rows[i + half] = builder.fadd(a, b), builder.fsub(a, b)
        half *= 2
    return rows


def _largest(builder: Any, rows: list[Any], lanes: int) -> Any:
    """i32: the bits of the largest magnitude of all."""
    kind = ir.VectorType(WORD, lanes)
    mask = ir.Constant(kind, [_MAGNITUDE] * lanes)
    sizes = [builder.and_(builder.bitcast(row, kind), mask) for row in rows]
    while len(sizes) > 1:
        sizes = [_larger(builder, a, b) for a, b in zip(sizes[::2], sizes[1::2], strict=True)]
    found = sizes[0]
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                found,
                found,
                ir.Constant(ir.VectorType(WORD, lanes), [*range(first, first + lanes)]),
            )
            for first in (0, lanes)
        )
        found = _larger(builder, low, high)
    return builder.extract_element(found, WORD(0))


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _raise(builder: Any, held: Any, value: Any) -> None:
    builder.store(_larger(builder, builder.load(held), value), held)


_one, _two, _four, _eight, _sixteen = (_mix(1 << i) for i in range(5))


@written
def round_numbers(typing: Any, row: Any, factor: Any, out: Any, at: Any, count: Any) -> Any:
    """int8 out[at + i] = row[i] · factor to the nearest, of i < count, both flat; a NaN is 0."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(row, types.float32, out, types.int64, types.int64), _write_round


def _write_round(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    row, out = (data(context, builder, signature, given, n) for n in (0, 2))
    _, factor, _, at, count = given
    out = builder.gep(out, [at])
    for lanes, begin, end in blocks(builder, count):
        floats, words, bytes_ = (
            ir.VectorType(kind, lanes) for kind in (FLOAT, WORD, ir.IntType(8))
        )
        many = spread(builder, factor, lanes)
        with cgutils.for_range_slice(builder, begin, end, count.type(lanes)) as (i, _):
            found = builder.fmul(load(builder, builder.gep(row, [i]), floats), many)
            large = builder.fadd(found, filled(_NEAREST, floats))
            small = builder.trunc(builder.bitcast(large, words), bytes_)
            to = builder.bitcast(builder.gep(out, [i]), bytes_.as_pointer())
            builder.store(small, to, align=1)
    return context.get_dummy_value()
