"""Bytes moved 32 at a time, which numba makes of no loop that may end anywhere."""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written

#: Bytes of a vector: so many may be read and written behind the last that counts.
WIDTH = 32
_WHOLE = ir.IntType(WIDTH)(-1)
_QUOTE, _BACKSLASH, _SPACE = 0x22, 0x5C, 0x20


@written
def move_plain(typing: Any, data: Any, at: Any, out: Any, to: Any) -> Any:
    """Move 32 bytes; returns how many come before a quote, a backslash or a control character.

    Of uint8[...] each; both hold 32 bytes from there on.
    """
    from numba.core import types  # `compiled` must import numba first

    return types.int64(data, at, out, to), _write_move_plain


def _write_move_plain(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    found = _moved(context, builder, signature, given)
    special = builder.icmp_unsigned("<", found, _all(_SPACE))
    for byte in (_QUOTE, _BACKSLASH):
        special = builder.or_(special, builder.icmp_unsigned("==", found, _all(byte)))
    bits = builder.zext(builder.bitcast(special, ir.IntType(WIDTH)), ir.IntType(64))
    bits = builder.or_(bits, bits.type(1 << WIDTH))
    return builder.cttz(bits, ir.IntType(1)(1))


@written
def move_vector(typing: Any, data: Any, at: Any, out: Any, to: Any) -> Any:
    """Move 32 bytes, of uint8[...] each; both hold as many from there on."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(data, at, out, to), _write_move


def _write_move(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    _moved(context, builder, signature, given)
    return context.get_dummy_value()


@written
def same_vector(typing: Any, data: Any, at: Any, other: Any, there: Any) -> Any:
    """Whether 32 bytes are the same, of uint8[...] each; both hold as many from there on."""
    from numba.core import types  # `compiled` must import numba first

    return types.boolean(data, at, other, there), _write_same


def _write_same(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    found = (builder.load(_place(context, builder, signature, given, n), align=1) for n in (0, 2))
    equal = builder.icmp_unsigned("==", *found)
    return builder.icmp_unsigned("==", builder.bitcast(equal, ir.IntType(WIDTH)), _WHOLE)


def _moved(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    """The vector that was moved."""
    source, target = (_place(context, builder, signature, given, n) for n in (0, 2))
    found = builder.load(source, align=1)
    builder.store(found, target, align=1)
    return found


def _place(context: Any, builder: Any, signature: Any, given: Any, number: int) -> Any:
    """Where an array, an argument by its number, has a vector at the argument behind it."""
    data = context.make_array(signature.args[number])(context, builder, given[number]).data
    return builder.bitcast(builder.gep(data, [given[number + 1]]), _vector().as_pointer())


def _all(byte: int) -> Any:
    return ir.Constant(_vector(), [byte] * WIDTH)


def _vector() -> ir.VectorType:
    return ir.VectorType(ir.IntType(8), WIDTH)
