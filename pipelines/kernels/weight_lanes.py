"""Weights of postings, 16 at once, in instructions that numba makes of no loop: it may not look up
several side by side, since it does not know that what is written lies elsewhere."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written
from shardrank.kernels.instructions import spread

#: Postings at once.
LANES = 16

_WORDS, _FLOATS = (ir.VectorType(kind, LANES) for kind in (ir.IntType(32), ir.FloatType()))


@written
def decode_lanes(typing: Any, codes: Any, begin: Any, table: Any, out: Any, at: Any) -> Any:
    """out[at + i] = table[codes[begin + i]], or the code itself where it is a float32.

    Args:
        codes: uint16[P] or float32[P].
        begin: the first of 16.
        table: float32[65536].
        out: float32[n].
        at: where in it.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.void(codes, types.int64, table, out, types.int64), _write_decode


def _write_decode(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    codes, table, out = (_data(context, builder, signature, given, n) for n in (0, 2, 3))
    if str(signature.args[0].dtype) == "float32":
        values = _load(builder, codes, given[1], _FLOATS)
    else:
        short = ir.VectorType(ir.IntType(16), LANES)
        wide = builder.zext(_load(builder, codes, given[1], short), _WORDS)
        values = _gather(builder, table, wide)
    _store(builder, values, out, given[4])
    return context.get_dummy_value()


@written
def divide_lanes(
    typing: Any, positions: Any, begin: Any, norms: Any, least: Any, out: Any, at: Any
) -> Any:
    """Divide each out[at + i] by its sum with norms[positions[begin + i]], or by the least.

    Args:
        positions: int32[P], none negative.
        begin: the first of 16.
        norms: float32[rows].
        least: float32, what is divided by at least.
        out: float32[n].
        at: where in it.
    """
    from numba.core import types  # `compiled` must import numba first

    given = (positions, types.int64, norms, types.float32, out, types.int64)
    return types.void(*given), _write_divide


def _write_divide(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    positions, norms, out = (_data(context, builder, signature, given, n) for n in (0, 2, 4))
    wanted = _load(builder, positions, given[1], _WORDS)
    values = _load(builder, out, given[5], _FLOATS)
    sums = builder.fadd(values, _gather(builder, norms, wanted))
    least = spread(builder, given[3], LANES)
    sums = builder.select(builder.fcmp_ordered(">", sums, least), sums, least)
    _store(builder, builder.fdiv(values, sums), out, given[5])
    return context.get_dummy_value()


def _data(context: Any, builder: Any, signature: Any, given: Any, number: int) -> Any:
    return context.make_array(signature.args[number])(context, builder, given[number]).data


def _load(builder: Any, data: Any, at: Any, kind: Any) -> Any:
    place = builder.bitcast(builder.gep(data, [at]), kind.as_pointer())
    return builder.load(place, align=kind.element.width // 8 if kind is not _FLOATS else 4)


def _store(builder: Any, values: Any, data: Any, at: Any) -> None:
    place = builder.bitcast(builder.gep(data, [at]), _FLOATS.as_pointer())
    builder.store(values, place, align=4)


def _gather(builder: Any, data: Any, wanted: Any) -> Any:
    """data[wanted[i]] of float32, wanted as numbers without a sign."""
    from numba.core import cgutils  # `compiled` must import numba first

    far, places = (ir.VectorType(kind, LANES) for kind in (ir.IntType(64), data.type))
    bits = ir.VectorType(ir.IntType(1), LANES)
    kind = ir.FunctionType(_FLOATS, [places, ir.IntType(32), bits, _FLOATS])
    gather = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, kind, f"llvm.masked.gather.v{LANES}f32.v{LANES}p0"
    )
    begin = spread(builder, builder.ptrtoint(data, far.element), LANES)
    offsets = builder.shl(builder.zext(wanted, far), ir.Constant(far, [2] * LANES))
    found = builder.inttoptr(builder.add(begin, offsets), places)
    every, none = ir.Constant(bits, [1] * LANES), ir.Constant(_FLOATS, ir.Undefined)
    return builder.call(gather, [found, ir.IntType(32)(4), every, none])
