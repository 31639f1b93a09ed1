"""Snappy's raw format, decompressed. https://github.com/google/snappy/blob/main/format_description.txt

Arrow's library asks another for each few bytes that it moves.
"""

import numpy as np
import numpy.typing as npt

from shardrank.kernels.compiled import compiled
from shardrank.kernels.memory import (
    BEHIND,
    address,
    byte_at,
    copied,
    move_bytes,
    move_some,
    put_byte,
    word_at,
)

Bytes = npt.NDArray[np.uint8]

#: Bytes that most elements come to at most.
_FEW = 16
#: What a tag says of its element: the length, and from the 8th bit on an offset's highest bits.
#: Below 0: the length, or an offset of four bytes, follows.
_TAGS = np.arange(256)
_KINDS = _TAGS & 3
_LENGTHS = np.where(_KINDS == 1, 4 + (_TAGS >> 2 & 7), 1 + (_TAGS >> 2))
_HIGHS = np.where(_KINDS == 1, _TAGS >> 5 << 8, 0)
_RARE = (_KINDS == 3) | ((_KINDS == 0) & (_LENGTHS > 60))
_ELEMENTS = (_LENGTHS | _HIGHS << 8) * np.where(_RARE, -1, 1)


def unpack_snappy(data: Bytes, size: int) -> Bytes | None:
    """uint8[size], decompressed; None where the data is not what snappy writes of so many bytes."""
    out = np.empty(size + BEHIND, np.uint8)
    return out[:size] if _unpack(data, out, size) else None


@compiled
def _unpack(data: Bytes, out: Bytes, size: int) -> bool:
    at, into = address(data), address(out)
    end, to, last = at + len(data), into, into + size
    told, at = _size(at, end)
    if told != size:
        return False
    while at < end:
        # What the next tag's place depends on is as short as can be: it is what takes the time.
        while at <= end - 2 * BEHIND and to <= last - BEHIND:
            tag = byte_at(at)
            element, kind = _ELEMENTS[tag], tag & 3
            length, low = element & 0xFF, (1 << (kind << 3)) - 1
            offset = (element >> 8) + (np.int64(word_at(at + 1)) & low)
            apart = (offset - length) | (to - into - offset)
            source = to - offset if kind else at + 1
            if (apart if kind else 0) | element < 0:
                break
            if length <= _FEW:
                move_some(source, to)
            else:
                move_bytes(source, to)
            at += kind + 1 if kind else (tag >> 2) + 2
            to += length
        if at < end:
            at, to = _element(at, end, into, to, last)
        if at < 0:
            return False
    good: bool = to == last
    return good


@compiled
def _size(at: int, end: int) -> tuple[int, int]:
    """The number that stands there in groups of 7 bits, the lowest first, and where it ends."""
    number, shift = 0, 0
    while at < end and shift <= 28:
        byte = byte_at(at)
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    return -1, at


@compiled
def _element(at: int, end: int, begin: int, to: int, last: int) -> tuple[int, int]:
    """Any element: where the next one stands, or -1 where this is none, and what it gives ends."""
    tag = byte_at(at)
    kind, length = tag & 3, _LENGTHS[tag]
    literal = kind == 0
    behind = max(length - 60, 0) if literal else 1 << (kind - 1)
    at += 1
    if behind > end - at:
        return -1, to
    number = _HIGHS[tag]
    for i in range(behind):
        number += byte_at(at + i) << 8 * i
    at += behind
    length = number + 1 if literal and behind else length
    if length > last - to or (literal and length > end - at):
        return -1, to
    if literal:
        return at + length, copied(at, at + length, to)
    if number < 1 or number > to - begin:
        return -1, to
    for place in range(to, to + length):
        put_byte(place, byte_at(place - number))
    return at, to + length
