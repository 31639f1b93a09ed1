"""Vectors of float32 in registers, for functions that write LLVM's instructions themselves."""

from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from shardrank.kernels.machine import has_wide_vectors

#: Numbers in a register.
LANES = 16 if has_wide_vectors() else 8

#: Rows that are worked on at once.
ROWS = 6

FLOAT, WORD = ir.FloatType(), ir.IntType(32)
FLOATS, WORDS = ir.VectorType(FLOAT, LANES), ir.VectorType(WORD, LANES)


def data(context: Any, builder: Any, signature: Any, given: Any, number: int) -> Any:
    """Where the numbers of an argument, a contiguous array, begin."""
    array = context.make_array(signature.args[number])(context, builder, given[number])
    return array.data


def row_starts(builder: Any, values: Any, first: Any, step: Any) -> list[Any]:
    """Where ROWS rows begin, of numbers from `first` on."""
    return [
        builder.gep(values, [builder.add(first, builder.mul(step, step.type(i)))])
        for i in range(ROWS)
    ]


def held(builder: Any, value: float) -> list[Any]:
    """A vector for each row, of this number at first, which LLVM makes a register of."""
    from numba.core import cgutils  # `compiled` must import numba first

    return [
        cgutils.alloca_once_value(builder, filled(value))  # type: ignore[no-untyped-call]
        for _ in range(ROWS)
    ]


def blocks(builder: Any, count: Any) -> Iterator[tuple[int, Any, Any]]:
    """Vectors that `count` numbers are worked on in: their lanes, and from which number to which;
    as few as can be."""
    begin = count.type(0)
    for lanes in (LANES, 8, 1) if LANES > 8 else (LANES, 1):
        whole = builder.and_(builder.sub(count, begin), count.type(-lanes))
        end = builder.add(begin, whole)
        yield lanes, begin, end
        begin = end


def load(builder: Any, at: Any, kind: ir.VectorType = FLOATS, align: int = 4) -> Any:
    """The numbers from a place on, as many as the vector has lanes, of so many bytes."""
    return builder.load(builder.bitcast(at, kind.as_pointer()), align=align)


def store(builder: Any, value: Any, at: Any) -> None:
    """The way back."""
    builder.store(value, builder.bitcast(at, value.type.as_pointer()), align=4)


def filled(value: float, kind: ir.VectorType = FLOATS) -> Any:
    """A constant in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def spread(builder: Any, number: Any, lanes: int = LANES) -> Any:
    """A number in every lane."""
    kind, words = ir.VectorType(number.type, lanes), ir.VectorType(WORD, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(words, [0] * lanes))


def spread_word(builder: Any, number: Any) -> Any:
    """The lowest 32 bits of an integer in every lane."""
    return spread(builder, builder.trunc(number, WORD))


def lane_numbers() -> Any:
    """0 in the first lane, 1 in the next, and so on."""
    return ir.Constant(WORDS, [*range(LANES)])


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c without a rounding between."""
    from numba.core import cgutils  # `compiled` must import numba first

    kind = a.type
    asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{kind.count}f32"
    )
    return builder.call(asked, [a, b, c])


def larger(builder: Any, a: Any, b: Any) -> Any:
    """The larger of both; b where one of them is no number."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def folded(builder: Any, x: Any, combine: Any) -> Any:
    """One number of all lanes: halves are combined until one is left."""
    size = LANES
    while size > 1:
        size //= 2
        low, high = (
            builder.shuffle_vector(x, x, _places(range(first, first + size))) for first in (0, size)
        )
        x = combine(builder, low, high)
    return builder.extract_element(x, WORD(0))


def picked(builder: Any, a: Any, b: Any, places: list[int]) -> Any:
    """These lanes of two vectors laid one after the other."""
    return builder.shuffle_vector(a, b, _places(places))


def _places(places: Any) -> Any:
    numbers = [*places]
    return ir.Constant(ir.VectorType(WORD, len(numbers)), numbers)
