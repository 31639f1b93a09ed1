"""Instructions that numba makes of no loop, for compiled functions to call."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written

#: Scores compared at once.
STRIDE = 32


@written
def lowest(typing: Any, number: Any) -> Any:
    """Which is the lowest bit set of a uint64 that is not 0."""
    from numba.core import types  # `compiled` must import numba first

    return types.int64(types.uint64), _write_lowest


def _write_lowest(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))


@written
def fetch(typing: Any, values: Any, at: Any, size: Any) -> Any:
    """Bring float32 values[at : at + size] into the cache, meanwhile."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(values, at, size), _write_fetch


def _write_fetch(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    size = given[2]
    with cgutils.for_range_slice(builder, size.type(0), size, size.type(16)) as (at, _):
        _fetch(context, builder, signature, given, builder.add(given[1], at))
    return context.get_dummy_value()


@written
def fetch_line(typing: Any, values: Any, at: Any) -> Any:
    """Bring the line of the cache that holds values[at], of any type, into it, meanwhile."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(values, at), _write_fetch_line


def _write_fetch_line(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    _fetch(context, builder, signature, given, given[1])
    return context.get_dummy_value()


def _fetch(context: Any, builder: Any, signature: Any, given: Any, at: Any) -> None:
    from numba.core import cgutils  # `compiled` must import numba first

    data = context.make_array(signature.args[0])(context, builder, given[0]).data
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    asked = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, "llvm.prefetch.p0i8"
    )
    place = builder.bitcast(builder.gep(data, [at]), byte)
    builder.call(asked, [place, word(0), word(3), word(1)])


@written
def reaching(typing: Any, products: Any, at: Any, scales: Any, other: Any, floor: Any) -> Any:
    """uint32: which of 32 products[at + i] · scales[other + i] are not under the floor."""
    from numba.core import types  # `compiled` must import numba first

    return types.uint32(products, at, scales, other, types.float32), _write_reaching


def _write_reaching(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    whole, floats = (ir.VectorType(kind, STRIDE) for kind in (ir.IntType(32), ir.FloatType()))

    def load(number: int, kind: Any) -> Any:
        data = context.make_array(signature.args[number])(context, builder, given[number]).data
        place = builder.gep(data, [given[number + 1]])
        return builder.load(builder.bitcast(place, kind.as_pointer()), align=4)

    values = builder.fmul(builder.sitofp(load(0, whole), floats), load(2, floats))
    under = builder.fcmp_ordered("<", values, spread(builder, given[4], STRIDE))
    return builder.not_(builder.bitcast(under, ir.IntType(32)))


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """A vector of one number in all lanes, as what writes instructions wants it."""
    word = ir.IntType(32)
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(nothing, value, word(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(word, lanes), [0] * lanes))
