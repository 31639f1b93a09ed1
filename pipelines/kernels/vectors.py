"""Vectors of float32 in registers, for functions that write LLVM's instructions themselves."""

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


def load(builder: Any, at: Any) -> Any:
    """The LANES numbers from a place on."""
    return builder.load(builder.bitcast(at, FLOATS.as_pointer()), align=4)


def store(builder: Any, value: Any, at: Any) -> None:
    """The way back."""
    builder.store(value, builder.bitcast(at, FLOATS.as_pointer()), align=4)


def filled(value: float) -> Any:
    """A constant in every lane."""
    return ir.Constant(FLOATS, [value] * LANES)


def spread(builder: Any, number: Any) -> Any:
    """A number in every lane."""
    one = builder.insert_element(ir.Constant(FLOATS, ir.Undefined), number, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(WORDS, [0] * LANES))


def spread_word(builder: Any, number: Any) -> Any:
    """The lowest 32 bits of an integer in every lane."""
    small = builder.trunc(number, WORD)
    one = builder.insert_element(ir.Constant(WORDS, ir.Undefined), small, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(WORDS, [0] * LANES))


def lane_numbers() -> Any:
    """0 in the first lane, 1 in the next, and so on."""
    return ir.Constant(WORDS, [*range(LANES)])


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c without a rounding between."""
    return _call(builder, "fma", [a, b, c])


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


def _call(builder: Any, name: str, values: list[Any]) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    kind = ir.FunctionType(FLOATS, [FLOATS] * len(values))
    asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.{name}.v{LANES}f32"
    )
    return builder.call(asked, values)
