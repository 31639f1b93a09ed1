"""Sums of the positions of a block, 64 at once, in instructions that numba makes of no loop."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.instructions import spread

#: Positions at once.
LANES = 64

_FLOATS, _BITS = (ir.VectorType(kind, LANES) for kind in (ir.FloatType(), ir.IntType(32)))


@written
def add_row(typing: Any, sums: Any, rows: Any, number: Any, weight: Any) -> Any:
    """Add weight · rows[number] to the sums, each product rounded before it is added.

    Args:
        sums: float32[n], n a multiple of 64.
        rows: float32[D, n or more].
        number: which of them.
        weight: float32.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.void(sums, rows, types.int64, types.float32), _write_add_row


def _write_add_row(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    from numba.core import cgutils  # `compiled` must import numba first

    sums, rows = (
        context.make_array(signature.args[n])(context, builder, given[n]) for n in range(2)
    )
    size = builder.extract_value(sums.shape, 0)
    begin = builder.mul(given[2], builder.extract_value(rows.shape, 1))
    factor = spread(builder, given[3], LANES)
    with cgutils.for_range_slice(builder, size.type(0), size, size.type(LANES)) as (at, _):
        place = _place(builder, sums.data, at, _FLOATS)
        row = builder.load(_place(builder, rows.data, builder.add(begin, at), _FLOATS), align=4)
        total = builder.fadd(builder.load(place, align=4), builder.fmul(factor, row))
        builder.store(total, place, align=4)
    return context.get_dummy_value()


@written
def reaching_word(typing: Any, sums: Any, word: Any, floor: Any) -> Any:
    """uint64: which of sums[64 · word + i] have bits that are, as numbers, at least the floor's.

    Args:
        sums: float32[n].
        word: which 64 of them.
        floor: int32.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.uint64(sums, types.int64, types.int32), _write_reaching


def _write_reaching(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    sums = context.make_array(signature.args[0])(context, builder, given[0])
    at = builder.mul(given[1], given[1].type(LANES))
    bits = builder.load(_place(builder, sums.data, at, _BITS), align=4)
    reached = builder.icmp_signed(">=", bits, spread(builder, given[2], LANES))
    return builder.bitcast(reached, ir.IntType(LANES))


@written
def clear_word(typing: Any, sums: Any, word: Any) -> Any:
    """Make float32 sums[64 · word + i] -0.0, for 64 of them."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(sums, types.int64), _write_clear


def _write_clear(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    sums = context.make_array(signature.args[0])(context, builder, given[0])
    at = builder.mul(given[1], given[1].type(LANES))
    none = ir.Constant(_FLOATS, [-0.0] * LANES)
    builder.store(none, _place(builder, sums.data, at, _FLOATS), align=4)
    return context.get_dummy_value()


def _place(builder: Any, data: Any, at: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())
