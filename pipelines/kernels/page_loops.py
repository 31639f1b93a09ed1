"""Values of Parquet's pages as addresses of texts, as machine code.

https://parquet.apache.org/docs/file-format/data-pages/encodings/. Whatever is not as it says there
makes a function answer False: then what it filled is worth nothing.
"""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.memory import byte_at, word_at

_MOST_BITS = 32


@compiled
def read_plain(at: int, end: int, valid: Bool, begins: Int64, ends: Int64) -> bool:
    """PLAIN byte arrays: each behind its length. Of what is not valid nothing is stored.

    Args:
        at, end: addresses of the values, and of what lies behind them.
        valid: bool[n].
        begins, ends: int64[n], filled.
    """
    for i in range(len(valid)):
        size = 0
        if valid[i]:
            if at + 4 > end:
                return False
            size = _number(at, 4)
            at += 4
        if size > end - at:
            return False
        begins[i], ends[i] = at, at + size
        at += size
    return at == end


@compiled
def read_chosen(
    numbers: npt.NDArray[np.int32],
    valid: Bool,
    texts: tuple[Int64, Int64],
    begins: Int64,
    ends: Int64,
) -> bool:
    """Texts of a dictionary by their numbers, one for each that is valid.

    Args:
        numbers: int32[...].
        valid: bool[n].
        texts: int64[m] each, where those of the dictionary begin and end.
        begins, ends: int64[n], filled.
    """
    at = 0
    for i in range(len(valid)):
        begins[i] = ends[i] = 0
        if valid[i]:
            number = numbers[at]
            if number < 0 or number >= len(texts[0]):
                return False
            begins[i], ends[i] = texts[0][number], texts[1][number]
            at += 1
    return True


@compiled
def read_hybrid(at: int, end: int, bits: int, out: npt.NDArray[np.int32]) -> bool:
    """Fill int32[n] from runs of one number, and of numbers of so many bits each."""
    filled = 0
    if bits < 0 or bits > _MOST_BITS:
        return False
    while filled < len(out):
        header, shift = 0, 0
        while True:
            if at >= end or shift > 28:
                return False
            byte = byte_at(at)
            header |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        count = header >> 1
        if header & 1:
            size = count * bits
            if size > end - at:
                return False
            count = min(8 * count, len(out) - filled)
            _unpack(at, end, bits, filled, count, out)
        else:
            size = (bits + 7) // 8
            if size > end - at:
                return False
            count = min(count, len(out) - filled)
            number = _number(at, size)
            for i in range(count):
                out[filled + i] = number
        if count == 0:
            return False
        at, filled = at + size, filled + count
    return True


@compiled
def _unpack(
    at: int, end: int, bits: int, first: int, count: int, out: npt.NDArray[np.int32]
) -> None:
    mask = (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    for i in range(count):
        place = at + (i * bits >> 3)
        left = end - place
        word = word_at(place) if left >= 8 else np.uint64(_number(place, left))
        out[first + i] = np.int32(word >> np.uint64(i * bits & 7) & mask)


@compiled
def _number(at: int, size: int) -> int:
    """A number of so many bytes, the lowest first."""
    number = 0
    for i in range(size):
        number |= byte_at(at + i) << 8 * i
    return number
