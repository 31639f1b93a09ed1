"""Bytes at addresses, for compiled functions that call each other: each array that is passed on is
counted at every call, which takes longer than to look at a byte of it.

Who calls holds the arrays, and sees to it that BEHIND bytes follow whatever is read or written.
"""

from typing import Any

from llvmlite import ir

from shardrank.kernels.compiled import written

#: Bytes of a vector: so many may be read and written behind the last that counts.
BEHIND = 64
_QUOTE, _BACKSLASH, _SPACE = 0x22, 0x5C, 0x20


@written
def byte_at(typing: Any, at: Any) -> Any:
    """The byte there."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.zext(builder.load(_byte(builder, given[0])), ir.IntType(64))

    return types.int64(types.int64), write


@written
def put_byte(typing: Any, at: Any, byte: Any) -> Any:
    """Write the lowest byte of a number there."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(builder.trunc(given[1], ir.IntType(8)), _byte(builder, given[0]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), write


@written
def lowest_bit(typing: Any, number: Any) -> Any:
    """Which is the lowest bit set of a uint64 that is not 0."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.IntType(1)(1))

    return types.int64(types.uint64), write


@written
def count_bits(typing: Any, number: Any) -> Any:
    """How many bits of a uint64 are set."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.int64(types.uint64), write


@written
def equal_bytes(typing: Any, at: Any, other: Any) -> Any:
    """uint64: a bit for each of 64 bytes, set where they are the same here and there."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _bits(builder, "==", *(_load(builder, place) for place in given))

    return types.uint64(types.int64, types.int64), write


@written
def bytes_that_are(typing: Any, at: Any, byte: Any) -> Any:
    """uint64: a bit for each of 64 bytes, set where they are this one."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        wanted = builder.insert_element(
            _vector()(ir.Undefined), builder.trunc(given[1], ir.IntType(8)), ir.IntType(32)(0)
        )
        same = builder.shuffle_vector(wanted, wanted, ir.VectorType(ir.IntType(32), BEHIND)(None))
        return _bits(builder, "==", _load(builder, given[0]), same)

    return types.uint64(types.int64, types.int64), write


@written
def high_bytes(typing: Any, at: Any) -> Any:
    """uint64: a bit for each of 64 bytes, set where they are over 127."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _bits(builder, ">", _load(builder, given[0]), _all(0x7F))

    return types.uint64(types.int64), write


@written
def special_bytes(typing: Any, at: Any) -> Any:
    """uint64: a bit for each of 64 bytes, set where a JSON string cannot hold them as they are: a
    quote, a backslash or a control character."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _special(builder, _load(builder, given[0]))

    return types.uint64(types.int64), write


@written
def move_special(typing: Any, at: Any, to: Any) -> Any:
    """As `special_bytes`, and the 64 bytes are moved."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        found = _load(builder, given[0])
        builder.store(found, _place(builder, given[1]), align=1)
        return _special(builder, found)

    return types.uint64(types.int64, types.int64), write


@written
def move_bytes(typing: Any, at: Any, to: Any) -> Any:
    """Move 64 bytes."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(_load(builder, given[0]), _place(builder, given[1]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), write


def _special(builder: Any, found: Any) -> Any:
    bits = _bits(builder, "<", found, _all(_SPACE))
    for byte in (_QUOTE, _BACKSLASH):
        bits = builder.or_(bits, _bits(builder, "==", found, _all(byte)))
    return bits


def _bits(builder: Any, compared: str, one: Any, other: Any) -> Any:
    return builder.bitcast(builder.icmp_unsigned(compared, one, other), ir.IntType(BEHIND))


def _load(builder: Any, at: Any) -> Any:
    return builder.load(_place(builder, at), align=1)


def _place(builder: Any, at: Any) -> Any:
    return builder.inttoptr(at, _vector().as_pointer())


def _byte(builder: Any, at: Any) -> Any:
    return builder.inttoptr(at, ir.IntType(8).as_pointer())


def _all(byte: int) -> Any:
    return ir.Constant(_vector(), [byte] * BEHIND)


def _vector() -> ir.VectorType:
    return ir.VectorType(ir.IntType(8), BEHIND)
