"""What SHA-256 needs beside its rounds: constants, and where each text's blocks are.

FIPS 180-4: sections 4.2.2, 5.1.1 and 5.3.3.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from shardrank.core.arrays import Int64
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.memory import (
    address,
    byte_at,
    clear,
    put_big_endian,
    put_byte,
    reads_whole,
)

BLOCK = 64
#: Bytes of a text's last block or two, and of its length at their end.
TAIL, _LENGTH = 2 * BLOCK, 8
#: Texts of more blocks than these go together, however many they have.
_LONG = 1 << 12


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction(value: int, root: int) -> int:
    """The first 32 bits behind the point of a root, by whole numbers: section 4.2.2."""
    scaled, low, high = value << 32 * root, 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle - 1)
    return low & 0xFFFFFFFF


ROUNDS = [_fraction(prime, 3) for prime in _primes(64)]
FIRST = np.array([_fraction(prime, 2) for prime in _primes(8)], np.uint32)

#: From the 64th byte on less those that a text has left: what is kept of 64, and the bit behind it.
WINDOWS = np.zeros((2, 2 * BLOCK), np.uint8)
WINDOWS[0, :BLOCK], WINDOWS[1, BLOCK] = 0xFF, 0x80


@compiled
def blocks_of(size: int) -> int:
    """Blocks of a text of so many bytes: it is followed by a bit, and by its length."""
    return (size + _LENGTH) // BLOCK + 1


@compiled
def by_blocks(begins: Int64, ends: Int64) -> Int64:
    """int64[n]: the texts, those of few blocks first."""
    counts, order = np.zeros(_LONG + 2, np.int64), np.empty(len(begins), np.int64)
    for i in range(len(begins)):
        counts[min(blocks_of(ends[i] - begins[i]), _LONG) + 1] += 1
    for i in range(1, len(counts)):
        counts[i] += counts[i - 1]
    for i in range(len(begins)):
        blocks = min(blocks_of(ends[i] - begins[i]), _LONG)
        order[counts[blocks]] = i
        counts[blocks] += 1
    return order


@compiled
def lay_tail(begin: int, end: int, windows: npt.NDArray[np.uint8], tail: int) -> None:
    """Write what a text has behind its last whole block, the bit that ends it, and its length.

    Args:
        begin, end: its addresses.
        windows: WINDOWS.
        tail: the address of TAIL bytes.
    """
    left = (end - begin) % BLOCK
    at = end - left
    if left and not reads_whole(at):
        for place in range(at, end):
            put_byte(tail + place - at, byte_at(place))
        at = tail
    _end_text(at if left else tail, address(windows) + BLOCK - left, tail)
    last = tail + (blocks_of(end - begin) - (end - begin) // BLOCK) * BLOCK
    clear(tail + BLOCK)
    put_big_endian(last - _LENGTH, np.uint64(end - begin) << np.uint64(3))


@written
def _end_text(typing: Any, at: Any, window: Any, to: Any) -> Any:
    """Move 64 bytes, of which `window` keeps as many as are of a text; behind them comes a bit."""
    from numba.core import types  # `compiled` must import numba first

    return types.void(types.int64, types.int64, types.int64), _write_end_text


def _write_end_text(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    at, window, to = given
    second = builder.add(window, window.type(2 * BLOCK))
    text, kept, ended = (builder.load(_place(builder, n), align=1) for n in (at, window, second))
    builder.store(builder.or_(builder.and_(text, kept), ended), _place(builder, to), align=1)
    return context.get_dummy_value()


def _place(builder: Any, at: Any) -> Any:
    return builder.inttoptr(at, ir.VectorType(ir.IntType(8), BLOCK).as_pointer())
