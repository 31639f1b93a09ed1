"""The loops of `corpus/plain_rows.py`, as machine code: rows that are documents beyond doubt."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int64
from shardrank.kernels.byte_vectors import WIDTH, move_vector
from shardrank.kernels.compiled import compiled

Bytes = npt.NDArray[np.uint8]


@compiled
def printable(data: Bytes, begins: Int64, ends: Int64, limit: int, good: Bool) -> None:
    """Keep `good`, bool[n], where a span is 1 to `limit` visible characters of ASCII."""
    for i in range(len(begins)):
        size = ends[i] - begins[i]
        strange = size < 1 or size > limit
        for at in range(begins[i], ends[i]):
            strange |= data[at] <= 0x20 or data[at] >= 0x7F
        good[i] &= not strange


@compiled
def not_blank(data: Bytes, begins: Int64, ends: Int64, good: Bool) -> None:
    """Keep `good` where a span of UTF-8 holds a character that is no white space beyond doubt.

    Beyond ASCII, white space begins with C2, E1, E2, or E3 and 80.
    """
    for i in range(len(begins)):
        found = False
        at, end = begins[i], ends[i]
        while at < end and not found:
            byte = data[at]
            found = 0x20 < byte < 0x7F or 0xC3 <= byte <= 0xDF or byte > 0xE3
            found |= byte == 0xE3 and data[at + 1] > 0x80
            at += 1
        good[i] &= found


@compiled
def join_contents(
    titles: Bytes,
    title_begins: Int64,
    title_ends: Int64,
    texts: Bytes,
    text_begins: Int64,
    text_ends: Int64,
    good: Bool,
    out: Bytes,
    ends: Int64,
) -> None:
    """Title, NUL, text of each row that is good, and drop `good` where a title holds a NUL.

    Args:
        titles, texts: uint8[...]; with begins and ends, int64[n].
        good: bool[n].
        out: uint8[...], WIDTH bytes more than all come to; filled.
        ends: int64[n], where in `out` each row ends; where the one before does, if it is not good.
    """
    to = 0
    for i in range(len(good)):
        if good[i]:
            begun = to
            for at in range(title_begins[i], title_ends[i]):
                good[i] &= titles[at] != 0
            to = _copied(titles, title_begins[i], title_ends[i], out, to)
            out[to] = 0
            to = _copied(texts, text_begins[i], text_ends[i], out, to + 1)
            to = to if good[i] else begun
        ends[i] = to


@compiled
def write_hex(words: npt.NDArray[np.uint32], out: Bytes) -> None:
    """The first four words of each row as 32 lower-case hex digits: uint8[n, 32], filled."""
    for row in range(len(words)):
        for word in range(4):
            for i in range(8):
                digit = words[row, word] >> np.uint32(28 - 4 * i) & np.uint32(15)
                out[row, 8 * word + i] = digit + (0x30 if digit < 10 else 0x57)


@compiled
def move_spans(data: Bytes, begins: Int64, ends: Int64, out: Bytes) -> None:
    """Put spans one behind the other; `out` holds WIDTH bytes more than they come to."""
    to = 0
    for i in range(len(begins)):
        to = _copied(data, begins[i], ends[i], out, to)


@compiled
def _copied(data: Bytes, begin: int, end: int, out: Bytes, to: int) -> int:
    """Where `out` goes on behind a copy of data[begin:end]; what lies behind it is written over."""
    last = min(end, len(data) - WIDTH + 1)
    at = begin
    while at < last:
        move_vector(data, at, out, to + at - begin)
        at += WIDTH
    for rest in range(at, end):
        out[to + rest - begin] = data[rest]
    return to + end - begin
