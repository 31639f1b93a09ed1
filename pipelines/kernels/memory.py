"""Bytes at addresses, for compiled functions that call each other: each array that is passed on is
counted at every call, which takes longer than to look at a byte of it.

Who calls holds the arrays. What moves or looks at BEHIND bytes does so whatever counts of them: the
caller sees to it that so many can be read, and written, there.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from shardrank.kernels.compiled import compiled, written

#: Bytes of a vector: so many may be read and written behind the last that counts.
BEHIND = 64
#: Memory that can be read can be read up to the next multiple of this, on any machine.
_PAGE = 4096
_QUOTE, _BACKSLASH, _SPACE = 0x22, 0x5C, 0x20


@written
def address(typing: Any, array: Any) -> Any:
    """Where an array's values begin."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), write


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


@written
def move_some(typing: Any, at: Any, to: Any) -> Any:
    """Move 16 bytes."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), 16).as_pointer()
        found = builder.load(builder.inttoptr(given[0], kind), align=1)
        builder.store(found, builder.inttoptr(given[1], kind), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), write


@written
def clear(typing: Any, to: Any) -> Any:
    """Write 64 bytes of 0."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(_all(0), _place(builder, given[0]), align=1)
        return context.get_dummy_value()

    return types.void(types.int64), write


@written
def word_at(typing: Any, at: Any) -> Any:
    """The uint64 there."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.inttoptr(given[0], ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.uint64(types.int64), write


@written
def swapped(typing: Any, word: Any) -> Any:
    """A uint32's bytes the other way round."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bswap(given[0])

    return types.uint32(types.uint32), write


@written
def put_big_endian(typing: Any, at: Any, number: Any) -> Any:
    """Write a uint64 there, its highest byte first."""
    from numba.core import types  # `compiled` must import numba first

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.inttoptr(given[0], ir.IntType(64).as_pointer())
        builder.store(builder.bswap(given[1]), place, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), write


@compiled
def reads_whole(at: int) -> bool:
    """Whether BEHIND bytes can be read there, if one can."""
    return at & (_PAGE - 1) <= _PAGE - BEHIND


@compiled
def copied(at: int, end: int, to: int) -> int:
    """Where a copy of the bytes from `at` up to `end` ends; BEHIND bytes from there on are lost."""
    while at + BEHIND <= end:
        move_bytes(at, to)
        at, to = at + BEHIND, to + BEHIND
    if at < end and reads_whole(at):
        move_bytes(at, to)
    else:
        for place in range(at, end):
            put_byte(to + place - at, byte_at(place))
    return to + end - at


@compiled
def holds_high(at: int, end: int) -> bool:
    """Whether a byte from `at` up to `end` is over 127; BEHIND more can be read."""
    while at + BEHIND <= end:
        if high_bytes(at):
            return True
        at += BEHIND
    return at < end and (high_bytes(at) << np.uint64(BEHIND - (end - at))) != 0


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
