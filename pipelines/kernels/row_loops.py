"""The loops of `corpus/plain_rows.py`, as machine code: rows that are documents beyond doubt.

Texts are given by their addresses, int64[n] each: where they begin, and where they end.
"""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import lowest
from shardrank.kernels.memory import (
    BEHIND,
    address,
    byte_at,
    bytes_that_are,
    copied,
    holds_high,
    put_byte,
    reads_whole,
    swapped,
)

Bytes = npt.NDArray[np.uint8]


@compiled
def printable(begins: Int64, ends: Int64, limit: int, good: Bool) -> None:
    """Keep `good`, bool[n], where a text is 1 to `limit` visible characters of ASCII."""
    for i in range(len(begins)):
        size = ends[i] - begins[i]
        strange = size < 1 or size > limit
        if good[i] and not strange:
            for at in range(begins[i], ends[i]):
                byte = byte_at(at)
                strange |= byte <= 0x20 or byte >= 0x7F
        good[i] &= not strange


@compiled
def not_blank(begins: Int64, ends: Int64, good: Bool) -> None:
    """Keep `good` where a text of UTF-8 holds a character that is no white space beyond doubt.

    Beyond ASCII, white space begins with C2, E1, E2, or E3 and 80.
    """
    for i in range(len(begins)):
        found = False
        at, end = begins[i], ends[i]
        while good[i] and at < end and not found:
            byte = byte_at(at)
            found = 0x20 < byte < 0x7F or 0xC3 <= byte <= 0xDF or byte > 0xE3
            found |= byte == 0xE3 and at + 1 < end and byte_at(at + 1) > 0x80
            at += 1
        good[i] &= found


@compiled
def join_contents(
    title_begins: Int64,
    title_ends: Int64,
    text_begins: Int64,
    text_ends: Int64,
    good: Bool,
    out: Bytes,
    begins: Int64,
    ends: Int64,
    odd: Bool,
) -> None:
    """Title, NUL, text of each row that is good, and drop `good` where a title holds a NUL.

    Where they lie so already they stay there.

    Args:
        good: bool[n].
        out: uint8[...], BEHIND bytes more than all come to; filled with what does not lie so.
        begins, ends: int64[n], filled: the addresses where each row's begins and ends.
        odd: bool[n], filled: False where a row was moved and holds no byte over 127.
    """
    to = address(out)
    for i in range(len(good)):
        begins[i], ends[i], odd[i] = title_begins[i], text_ends[i], True
        if not good[i]:
            continue
        good[i] = not _holds_nul(title_begins[i], title_ends[i])
        if text_begins[i] != title_ends[i] + 1 or byte_at(title_ends[i]) != 0:
            begins[i] = to
            to = copied(title_begins[i], title_ends[i], to)
            put_byte(to, 0)
            to = copied(text_begins[i], text_ends[i], to + 1)
            ends[i], odd[i] = to, holds_high(begins[i], to)


@compiled
def _holds_nul(at: int, end: int) -> bool:
    """Whether a byte is 0."""
    while at < end:
        if reads_whole(at):
            found = bytes_that_are(at, 0)
            if found:
                inside: bool = at + lowest(found) < end
                return inside
            at += BEHIND
        elif byte_at(at) == 0:
            return True
        else:
            at += 1
    return False


@compiled
def write_hex(words: npt.NDArray[np.uint32], out: npt.NDArray[np.uint64]) -> None:
    """The first four words of each row as 32 lower-case hex digits, of which 8 are a uint64."""
    nibbles, ones = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    for row in range(len(words)):
        for word in range(4):
            spread = np.uint64(swapped(words[row, word]))
            spread = (spread | spread << np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
            spread = (spread | spread << np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
            spread = (spread >> np.uint64(4) | spread << np.uint64(8)) & nibbles
            letters = (spread + np.uint64(6) * ones) >> np.uint64(4) & ones
            out[row, word] = spread + np.uint64(0x30) * ones + np.uint64(0x27) * letters


@compiled
def move_texts(begins: Int64, ends: Int64, out: Bytes) -> None:
    """Put texts one behind the other; `out` holds BEHIND bytes more than they come to."""
    to = address(out)
    for i in range(len(begins)):
        to = copied(begins[i], ends[i], to)


@compiled
def take_texts(
    begins: Int64, ends: Int64, order: Int64, bounds: npt.NDArray[np.int32], out: Bytes
) -> None:
    """As `move_texts`, in an order, int64[n]; int32[n + 1] are filled with where each begins."""
    base = address(out)
    to = base
    for i in range(len(order)):
        bounds[i] = to - base
        to = copied(begins[order[i]], ends[order[i]], to)
    bounds[len(order)] = to - base
