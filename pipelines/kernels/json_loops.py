"""JSON objects of known keys, read without Python's values. https://www.rfc-editor.org/rfc/rfc8259

Only what Python's json reads the same way is read here; the caller gives it all other lines, right
or wrong. The bytes must be UTF-8.

Within, `at`, `end` and `to` are addresses, and -1 is nowhere.
"""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int8, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import lowest
from shardrank.kernels.memory import (
    BEHIND,
    address,
    byte_at,
    equal_bytes,
    move_special,
    put_byte,
    special_bytes,
)

Bytes = npt.NDArray[np.uint8]

#: Keys that are known at most: a bit each says which a line had.
MOST_KEYS = 60
#: What a key's value is for; a line with one that refuses is left to the caller.
OTHER, ID, TITLE, TEXT, REFUSES = range(5)

_DEEPEST, _DIGITS = 40, 30
_QUOTE, _BACKSLASH, _COMMA, _COLON = 0x22, 0x5C, 0x2C, 0x3A
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = 0x7B, 0x7D, 0x5B, 0x5D
_MINUS, _PLUS, _POINT, _ZERO, _NINE = 0x2D, 0x2B, 0x2E, 0x30, 0x39
#: What stands behind a backslash, and the characters that it means.
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_MEANT = np.zeros(256, np.uint8)
_MEANT[[*map(ord, _ESCAPES)]] = [*map(ord, _ESCAPES.values())]


@compiled
def read_objects(
    data: Bytes,
    begins: Int64,
    ends: Int64,
    keys: Bytes,
    key_ends: Int64,
    roles: Int8,
    out: Bytes,
    spans: Int64,
    read: Bool,
) -> None:
    """The strings of each line's id, title and text, one behind the other in `out`, and a NUL
    before each text; an absent title lies before that.

    Args:
        data: uint8[b], valid UTF-8, of which the last BEHIND are of no line.
        begins, ends: int64[n], of each line.
        keys: uint8[...], known keys one behind the other, without escapes, each with the quote
            that closes it; the last BEHIND are of none.
        key_ends: int64[k], where each ends.
        roles: int8[k], see OTHER and those behind it.
        out: uint8[b + BEHIND], filled; an object has more characters beside its strings than NULs.
        spans: int64[3, 2, n], where in `out` each begins and ends; empty where absent or null.
        read: bool[n], filled: whether the line was read, and has an id and a text.
    """
    base, known, into = address(data), address(keys), address(out)
    to = into
    for i in range(len(begins)):
        for column in range(3):
            spans[column, 0, i] = spans[column, 1, i] = to - into
        begun, seen, number, good = to, np.int64(0), -1, False
        end = base + ends[i]
        at = _behind(base + begins[i], end, _OPEN)
        while at >= 0:
            at = _behind(at, end, _QUOTE)
            number = _key(at, end, known, key_ends, number + 1)
            if number < 0 or seen >> number & 1:
                break
            at += key_ends[number] - (key_ends[number - 1] if number else 0)
            at = _space(_behind(at, end, _COLON), end)
            seen |= np.int64(1) << number
            role = roles[number]
            if role == REFUSES:
                break
            if role == OTHER:
                at = _value(at, end)
            else:
                if role == TEXT:
                    put_byte(to, 0)
                    to += 1
                spans[role - 1, 0, i] = to - into
                at, to = _wanted(at, end, to, role)
                spans[role - 1, 1, i] = to - into
            at = _space(at, end)
            if at < 0 or at >= end:
                break
            if byte_at(at) == _CLOSE:
                good = _space(at + 1, end) == end
                break
            at = at + 1 if byte_at(at) == _COMMA else -1
        if spans[1, 0, i] == spans[1, 1, i]:
            spans[1, :, i] = spans[2, 0, i] - 1
        full = spans[0, 1, i] > spans[0, 0, i] and spans[2, 1, i] > spans[2, 0, i]
        read[i] = good and full
        to = to if read[i] else begun


@compiled
def _space(at: int, end: int) -> int:
    """Behind white space; -1 stays -1."""
    while 0 <= at < end and (byte_at(at) == 0x20 or 0x09 <= byte_at(at) <= 0x0D):
        if byte_at(at) == 0x0B or byte_at(at) == 0x0C:
            return -1
        at += 1
    return at


@compiled
def _behind(at: int, end: int, byte: int) -> int:
    """Behind white space and this byte; -1 where it is another."""
    at = _space(at, end)
    return at + 1 if 0 <= at < end and byte_at(at) == byte else -1


@compiled
def _same(at: int, other: int, size: int) -> bool:
    while size > BEHIND:
        if ~equal_bytes(at, other):
            return False
        at, other, size = at + BEHIND, other + BEHIND, size - BEHIND
    same: bool = (~equal_bytes(at, other) << np.uint64(BEHIND - size)) == 0
    return same


@compiled
def _key(at: int, end: int, keys: int, key_ends: Int64, likely: int) -> int:
    """The number of the key that stands there; -1 where it is not known."""
    count = len(key_ends)
    for turn in range(count if at >= 0 else 0):
        number = (likely + turn) % count
        begin = key_ends[number - 1] if number else 0
        size = key_ends[number] - begin
        if at + size <= end and _same(at, keys + begin, size):
            return number
    return -1


@compiled
def _wanted(at: int, end: int, to: int, role: int) -> tuple[int, int]:
    """A string's characters in `out`; an integer's digits as an id; nothing for a title of null."""
    if at < 0 or at >= end:
        return -1, to
    if byte_at(at) == _QUOTE:
        return _string(at + 1, end, to)
    if role == TITLE:
        return _word(at, end, (0x6E, 0x75, 0x6C, 0x6C)), to  # null
    if role != ID:
        return -1, to
    begin, at = at, _digits(at + int(byte_at(at) == _MINUS), end)
    if at < 0 or (at < end and byte_at(at) in (_POINT, 0x65, 0x45)):
        return -1, to
    if byte_at(begin) == _MINUS and byte_at(begin + 1) == _ZERO:
        return -1, to
    for place in range(begin, at):
        put_byte(to + place - begin, byte_at(place))
    return at, to + at - begin


@compiled
def _string(at: int, end: int, to: int) -> tuple[int, int]:
    """Behind the closing quote, and behind what was written."""
    while at < end:
        special = move_special(at, to)
        if not special:
            at, to = at + BEHIND, to + BEHIND
            continue
        plain = lowest(special)
        at, to = at + plain, to + plain
        if at >= end or byte_at(at) != _BACKSLASH:
            return (at + 1 if at < end and byte_at(at) == _QUOTE else -1), to
        at, code = _escape(at + 1, end)
        if at < 0 or 0xD800 <= code < 0xE000:  # surrogates are the caller's
            return -1, to
        to = _put(to, code)
    return -1, to


@compiled
def _escape(at: int, end: int) -> tuple[int, int]:
    """Behind an escape, and its character; `at` is behind the backslash."""
    if at >= end:
        return -1, 0
    byte = byte_at(at)
    if _MEANT[byte]:
        return at + 1, int(_MEANT[byte])
    if byte != 0x75 or at + 4 >= end:  # u
        return -1, 0
    code = 0
    for i in range(1, 5):
        digit = byte_at(at + i)
        letter = (digit | 0x20) - 0x61 + 10
        value = digit - _ZERO if _ZERO <= digit <= _NINE else letter
        if not (_ZERO <= digit <= _NINE or 10 <= letter <= 15):
            return -1, 0
        code = code * 16 + value
    return at + 5, code


@compiled
def _put(to: int, code: int) -> int:
    """A character below 2¹⁶ as UTF-8, which its escape is never shorter than."""
    if code < 0x80:
        put_byte(to, code)
        return to + 1
    if code < 0x800:
        put_byte(to, 0xC0 | code >> 6)
    else:
        put_byte(to, 0xE0 | code >> 12)
        to += 1
        put_byte(to, 0x80 | code >> 6 & 0x3F)
    put_byte(to + 1, 0x80 | code & 0x3F)
    return to + 2


@compiled
def _value(at: int, end: int) -> int:
    """Behind any value; -1 where it is not understood. Numba cannot keep functions that call
    themselves: what is open is a stack of bits, 1 for an object."""
    depth, objects = 0, 0
    while 0 <= at < end:
        byte = byte_at(at)
        if byte in (_OPEN, _OPEN_LIST):
            depth, objects = depth + 1, objects << 1 | int(byte == _OPEN)
            at = _space(at + 1, end)
            empty = 0 <= at < end and byte_at(at) == _closing(objects)
            if depth > _DEEPEST:
                return -1
            if not empty:
                at = _member(at, end, objects)
                continue
        else:
            at = _scalar(at, end)
        at, depth, objects = _closed(at, end, depth, objects)
        if depth == 0 or at < 0:
            return at
        at = _member(at, end, objects)
    return -1


@compiled
def _closed(at: int, end: int, depth: int, objects: int) -> tuple[int, int, int]:
    """Behind all that closes here, and behind the comma then; what is still open."""
    while depth and at >= 0:
        at = _space(at, end)
        if at < 0 or at >= end:
            return -1, depth, objects
        if byte_at(at) == _COMMA:
            return _space(at + 1, end), depth, objects
        at = at + 1 if byte_at(at) == _closing(objects) else -1
        depth, objects = depth - 1, objects >> 1
    return at, depth, objects


@compiled
def _closing(objects: int) -> int:
    return _CLOSE if objects & 1 else _CLOSE_LIST


@compiled
def _member(at: int, end: int, objects: int) -> int:
    """Where the next value begins: in an object behind its key."""
    if objects & 1:
        at = _over(_behind(at, end, _QUOTE), end)
        at = _space(_behind(at, end, _COLON), end)
    return at


@compiled
def _scalar(at: int, end: int) -> int:
    byte = byte_at(at)
    if byte == _QUOTE:
        return _over(at + 1, end)
    if byte == 0x74:
        return _word(at, end, (0x74, 0x72, 0x75, 0x65))  # true
    if byte == 0x6E:
        return _word(at, end, (0x6E, 0x75, 0x6C, 0x6C))  # null
    if byte == 0x66:
        at = _word(at, end, (0x66, 0x61, 0x6C, 0x73))  # fals
        return at + 1 if 0 <= at < end and byte_at(at) == 0x65 else -1
    return _number(at, end)


@compiled
def _over(at: int, end: int) -> int:
    """Behind a string's closing quote."""
    while 0 <= at < end:
        special = special_bytes(at)
        at += lowest(special) if special else BEHIND
        if special and at < end and byte_at(at) != _BACKSLASH:
            return at + 1 if byte_at(at) == _QUOTE else -1
        at = _escape(at + 1, end)[0] if special else at
    return -1


@compiled
def _word(at: int, end: int, word: tuple[int, int, int, int]) -> int:
    if at + 4 > end:
        return -1
    for i in range(4):
        if byte_at(at + i) != word[i]:
            return -1
    return at + 4


@compiled
def _digits(at: int, end: int) -> int:
    """Behind a whole number without leading zeros; -1 where it is none, or a long one."""
    begin = at
    while at < end and _ZERO <= byte_at(at) <= _NINE:
        at += 1
    if at == begin or at - begin > _DIGITS or (byte_at(begin) == _ZERO and at - begin > 1):
        return -1
    return at


@compiled
def _number(at: int, end: int) -> int:
    at = _digits(at + int(byte_at(at) == _MINUS), end)
    if 0 <= at < end and byte_at(at) == _POINT:
        at = _some_digits(at + 1, end)
    if 0 <= at < end and (byte_at(at) == 0x65 or byte_at(at) == 0x45):
        signed = at + 1 < end and byte_at(at + 1) in (_PLUS, _MINUS)
        at = _some_digits(at + 1 + int(signed), end)
    return at


@compiled
def _some_digits(at: int, end: int) -> int:
    begin = at
    while at < end and _ZERO <= byte_at(at) <= _NINE:
        at += 1
    return at if at > begin else -1
