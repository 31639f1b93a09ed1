"""JSON objects of known keys, read without Python's values. https://www.rfc-editor.org/rfc/rfc8259

Only what Python's json reads the same way is read here; the caller gives it all other lines, right
or wrong. The bytes must be UTF-8.
"""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int8, Int64
from shardrank.kernels.byte_vectors import WIDTH, move_plain
from shardrank.kernels.compiled import compiled

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
    """The strings of each line's id, title and text, one behind the other in `out`.

    Args:
        data: uint8[b], valid UTF-8, of which the last WIDTH are of no line.
        begins, ends: int64[n], of each line.
        keys: uint8[...], known keys one behind the other, without escapes.
        key_ends: int64[k], where each ends.
        roles: int8[k], see OTHER and those behind it.
        out: uint8[b + WIDTH], filled.
        spans: int64[3, 2, n], where in `out` each begins and ends; empty where absent or null.
        read: bool[n], filled: whether the line was read, and has an id and a text.
    """
    to = 0
    for i in range(len(begins)):
        to, read[i] = _object(data, begins[i], ends[i], keys, key_ends, roles, out, to, spans, i)


@compiled
def _object(
    data: Bytes,
    at: int,
    end: int,
    keys: Bytes,
    key_ends: Int64,
    roles: Int8,
    out: Bytes,
    to: int,
    spans: Int64,
    line: int,
) -> tuple[int, bool]:
    """Where `out` goes on, and whether the line was read."""
    for column in range(3):
        spans[column, 0, line] = spans[column, 1, line] = to
    begun, seen, number = to, np.int64(0), -1
    at = _behind(data, at, end, _OPEN)
    while at >= 0:
        at = _behind(data, at, end, _QUOTE)
        at, number = _key(data, at, end, keys, key_ends, number + 1)
        at = _behind(data, at, end, _COLON)
        if at < 0 or seen >> number & 1:
            return begun, False
        seen |= np.int64(1) << number
        role = roles[number]
        at = _space(data, at, end)
        if role == OTHER:
            at = _value(data, at, end)
        elif role == REFUSES:
            return begun, False
        else:
            spans[role - 1, 0, line] = to
            at, to = _wanted(data, at, end, out, to, role)
            spans[role - 1, 1, line] = to
        at = _space(data, at, end)
        if at < 0 or at >= end:
            return begun, False
        if data[at] == _CLOSE:
            whole = _space(data, at + 1, end) == end
            full = spans[0, 1, line] > spans[0, 0, line] and spans[2, 1, line] > spans[2, 0, line]
            return (to, True) if whole and full else (begun, False)
        at = at + 1 if data[at] == _COMMA else -1
    return begun, False


@compiled
def _space(data: Bytes, at: int, end: int) -> int:
    """Behind white space; -1 stays -1."""
    while 0 <= at < end and (data[at] == 0x20 or 0x09 <= data[at] <= 0x0D):
        if data[at] == 0x0B or data[at] == 0x0C:
            return -1
        at += 1
    return at


@compiled
def _behind(data: Bytes, at: int, end: int, byte: int) -> int:
    """Behind white space and this byte; -1 where it is another."""
    at = _space(data, at, end)
    return at + 1 if 0 <= at < end and data[at] == byte else -1


@compiled
def _key(
    data: Bytes, at: int, end: int, keys: Bytes, key_ends: Int64, likely: int
) -> tuple[int, int]:
    """Behind the key's closing quote, and its number; (-1, 0) where it is not known."""
    count = len(key_ends)
    for turn in range(count if at >= 0 else 0):
        number = (likely + turn) % count
        begin = key_ends[number - 1] if number else 0
        size = key_ends[number] - begin
        if at + size < end and data[at + size] == _QUOTE:
            same = True
            for i in range(size):
                same = same and data[at + i] == keys[begin + i]
            if same:
                return at + size + 1, number
    return -1, 0


@compiled
def _wanted(data: Bytes, at: int, end: int, out: Bytes, to: int, role: int) -> tuple[int, int]:
    """A string's characters in `out`; an integer's digits as an id; nothing for a title of null."""
    if at < 0 or at >= end:
        return -1, to
    if data[at] == _QUOTE:
        return _string(data, at + 1, end, out, to)
    if role == TITLE:
        return _word(data, at, end, (0x6E, 0x75, 0x6C, 0x6C)), to  # null
    if role != ID:
        return -1, to
    begin, at = at, _digits(data, at + int(data[at] == _MINUS), end)
    if at < 0 or (at < end and data[at] in (_POINT, 0x65, 0x45)):
        return -1, to
    if data[begin] == _MINUS and data[begin + 1] == _ZERO:
        return -1, to
    for i in range(begin, at):
        out[to] = data[i]
        to += 1
    return at, to


@compiled
def _string(data: Bytes, at: int, end: int, out: Bytes, to: int) -> tuple[int, int]:
    """Behind the closing quote, and behind what was written."""
    while at < end:
        plain = WIDTH
        while plain == WIDTH and at < end:
            plain = move_plain(data, at, out, to)
            at, to = at + plain, to + plain
        if at >= end:
            return -1, to
        byte = data[at]
        if byte == _QUOTE:
            return at + 1, to
        if byte == _BACKSLASH:
            at, code = _escape(data, at + 1, end)
            if at < 0 or 0xD800 <= code < 0xE000:  # surrogates are the caller's
                return -1, to
            to = _put(out, to, code)
            continue
        return -1, to  # a control character
    return -1, to


@compiled
def _escape(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Behind an escape, and its character; `at` is behind the backslash."""
    if at >= end:
        return -1, 0
    byte = data[at]
    if _MEANT[byte]:
        return at + 1, int(_MEANT[byte])
    if byte != 0x75 or at + 4 >= end:  # u
        return -1, 0
    code = 0
    for i in range(1, 5):
        digit = int(data[at + i])
        letter = (digit | 0x20) - 0x61 + 10
        value = digit - _ZERO if _ZERO <= digit <= _NINE else letter
        if not (_ZERO <= digit <= _NINE or 10 <= letter <= 15):
            return -1, 0
        code = code * 16 + value
    return at + 5, code


@compiled
def _put(out: Bytes, to: int, code: int) -> int:
    """A character below 2¹⁶ as UTF-8, which its escape is never shorter than."""
    if code < 0x80:
        out[to] = code
        return to + 1
    if code < 0x800:
        out[to], out[to + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return to + 2
    out[to], out[to + 1] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F
    out[to + 2] = 0x80 | code & 0x3F
    return to + 3


@compiled
def _value(data: Bytes, at: int, end: int) -> int:
    """Behind any value; -1 where it is not understood. Numba cannot keep functions that call
    themselves: what is open is a stack of bits, 1 for an object."""
    depth, objects = 0, 0
    while 0 <= at < end:
        byte = data[at]
        if byte in (_OPEN, _OPEN_LIST):
            depth, objects = depth + 1, objects << 1 | int(byte == _OPEN)
            at = _space(data, at + 1, end)
            empty = 0 <= at < end and data[at] == _closing(objects)
            if depth > _DEEPEST:
                return -1
            if not empty:
                at = _member(data, at, end, objects)
                continue
        else:
            at = _scalar(data, at, end)
        at, depth, objects = _closed(data, at, end, depth, objects)
        if depth == 0 or at < 0:
            return at
        at = _member(data, at, end, objects)
    return -1


@compiled
def _closed(data: Bytes, at: int, end: int, depth: int, objects: int) -> tuple[int, int, int]:
    """Behind all that closes here, and behind the comma then; what is still open."""
    while depth and at >= 0:
        at = _space(data, at, end)
        if at < 0 or at >= end:
            return -1, depth, objects
        if data[at] == _COMMA:
            return _space(data, at + 1, end), depth, objects
        at = at + 1 if data[at] == _closing(objects) else -1
        depth, objects = depth - 1, objects >> 1
    return at, depth, objects


@compiled
def _closing(objects: int) -> int:
    return _CLOSE if objects & 1 else _CLOSE_LIST


@compiled
def _member(data: Bytes, at: int, end: int, objects: int) -> int:
    """Where the next value begins: in an object behind its key."""
    if objects & 1:
        at = _over(data, _behind(data, at, end, _QUOTE), end)
        at = _space(data, _behind(data, at, end, _COLON), end)
    return at


@compiled
def _scalar(data: Bytes, at: int, end: int) -> int:
    byte = data[at]
    if byte == _QUOTE:
        return _over(data, at + 1, end)
    if byte == 0x74:
        return _word(data, at, end, (0x74, 0x72, 0x75, 0x65))  # true
    if byte == 0x6E:
        return _word(data, at, end, (0x6E, 0x75, 0x6C, 0x6C))  # null
    if byte == 0x66:
        at = _word(data, at, end, (0x66, 0x61, 0x6C, 0x73))  # fals
        return at + 1 if 0 <= at < end and data[at] == 0x65 else -1
    return _number(data, at, end)


@compiled
def _over(data: Bytes, at: int, end: int) -> int:
    """Behind a string's closing quote."""
    while 0 <= at < end:
        byte = data[at]
        if byte == _QUOTE:
            return at + 1
        if byte < 0x20:
            return -1
        at = _escape(data, at + 1, end)[0] if byte == _BACKSLASH else at + 1
    return -1


@compiled
def _word(data: Bytes, at: int, end: int, word: tuple[int, int, int, int]) -> int:
    if at + 4 > end:
        return -1
    for i in range(4):
        if data[at + i] != word[i]:
            return -1
    return at + 4


@compiled
def _digits(data: Bytes, at: int, end: int) -> int:
    """Behind a whole number without leading zeros; -1 where it is none, or a long one."""
    begin = at
    while at < end and _ZERO <= data[at] <= _NINE:
        at += 1
    if at == begin or at - begin > _DIGITS or (data[begin] == _ZERO and at - begin > 1):
        return -1
    return at


@compiled
def _number(data: Bytes, at: int, end: int) -> int:
    at = _digits(data, at + int(data[at] == _MINUS), end)
    if 0 <= at < end and data[at] == _POINT:
        at = _some_digits(data, at + 1, end)
    if 0 <= at < end and (data[at] == 0x65 or data[at] == 0x45):
        signed = at + 1 < end and data[at + 1] in (_PLUS, _MINUS)
        at = _some_digits(data, at + 1 + int(signed), end)
    return at


@compiled
def _some_digits(data: Bytes, at: int, end: int) -> int:
    begin = at
    while at < end and _ZERO <= data[at] <= _NINE:
        at += 1
    return at if at > begin else -1
