"""The loops around attention's products, as machine code.

The softmax is over rows of bf16: torch's own takes longer than both products.
"""

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64, UInt16
from shardrank.kernels.bf16 import narrow, widen
from shardrank.kernels.compiled import compiled, compiled_fused, compiled_sum

#: Rows that are worked on together, in a core's innermost cache.
_ROWS = 8
#: A float's bits without its sign compare as integers do.
_MAGNITUDE = 0x7FFFFFFF
_LOWEST = -(2**31)


@compiled
def spread(x: Int64, begins: Int64, sizes: Int64, out: Int64) -> None:
    """Tokens of inputs that stand one after another → the heads of each input, one length for all.

    Args:
        x: [t, heads, w] of some tokens.
        begins: int64[n], the first token of each input.
        sizes: int64[n], how many it has.
        out: [n, heads, length, w], filled; 0 behind an input's tokens.
    """
    for number in range(len(sizes)):
        begin, size = begins[number], sizes[number]
        for head in range(x.shape[1]):
            mine = out[number, head]
            for token in range(size):
                for i in range(x.shape[2]):
                    mine[token, i] = x[begin + token, head, i]
            mine[size:] = 0


@compiled
def gather(x: Int64, begins: Int64, sizes: Int64, out: Int64) -> None:
    """The way back: x [n, heads, length, w] into out [t, heads, w]; see `spread`."""
    for number in range(len(sizes)):
        begin = begins[number]
        for token in range(sizes[number]):
            for head in range(out.shape[1]):
                for i in range(out.shape[2]):
                    out[begin + token, head, i] = x[number, head, token, i]


@compiled
def softmax_rows(x: UInt16, lengths: Int64, each: int, scale: float) -> None:
    """Each row becomes softmax(row · scale) of its first numbers, and 0 after them.

    Sums are in float32; exp is off by 4e-5 of itself, where bf16 rounds by 2e-3.

    Args:
        x: the bits of bf16[n · each, p], contiguous; overwritten.
        lengths: int64[n], each at most p, for as many groups of rows; what stands after so many
            numbers is ignored.
        each: rows of a group.
        scale: positive.
    """
    width = x.shape[1]
    rows = np.empty((_ROWS, width), np.float32)
    bits, flat = rows.view(np.int32), rows.reshape(_ROWS * width)
    flat_bits = flat.view(np.int32)
    highest = np.zeros(_ROWS, np.float32)
    highest_bits = highest.view(np.int32)
    factor = np.float32(scale * 1.4426950408889634)  # e^x = 2^(x / ln 2)
    for begin in range(0, len(x), _ROWS):
        mine = x[begin : begin + _ROWS]
        flat_mine = mine.reshape(mine.size)
        widen(flat_mine, flat_bits)
        for number in range(len(mine)):
            row = rows[number]
            for i in range(lengths[(begin + number) // each], width):
                row[i] = -np.inf
            highest_bits[number] = most(bits[number])
            shift(row, factor, highest[number] * factor)
        powers(flat)
        for number in range(len(mine)):
            shift(rows[number], np.float32(1) / total(rows[number]), np.float32(0))
        narrow(flat_bits, flat_mine)


@compiled
def softmax_spans(
    x: UInt16, lengths: Int64, each: int, asked: int, before: int, behind: int, scale: float
) -> None:
    """As `softmax_rows`, where a token attends to some neighbours only.

    Args:
        x: as there; the rows of an input are those of `asked` tokens, from its first on, head by
            head. Of one token asked it is the input's last.
        lengths, each, scale: as there.
        asked: tokens of each input whose rows there are.
        before, behind: how many tokens before and behind its own place one attends to.
    """
    width = x.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    highest = np.zeros(1, np.float32)
    highest_bits = highest.view(np.int32)
    factor = np.float32(scale * 1.4426950408889634)  # e^x = 2^(x / ln 2)
    for number in range(len(x)):
        size = lengths[number // each]
        place = size - 1 if asked == 1 else number % asked
        begin, end = max(0, place - before), min(size, place + behind + 1)
        mine = x[number]
        if end <= begin:  # filled up behind the input
            mine[:] = 0
            continue
        seen, seen_bits = row[begin:end], bits[begin:end]
        widen(mine[begin:end], seen_bits)
        highest_bits[0] = most(seen_bits)
        shift(seen, factor, highest[0] * factor)
        powers(seen)
        shift(seen, np.float32(1) / total(seen), np.float32(0))
        mine[:begin] = 0
        narrow(seen_bits, mine[begin:end])
        mine[end:] = 0


@compiled
def most(bits: Int32) -> np.int32:
    """The bits of the largest float32. As integers they are compared many at a time."""
    found = np.int32(_LOWEST)
    for i in range(len(bits)):
        found = max(found, bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(_MAGNITUDE)))
    return found ^ ((found >> np.int32(31)) & np.int32(_MAGNITUDE))


@compiled
def shift(x: Float32, factor: np.float32, less: np.float32) -> None:
    """x · factor - less, in place."""
    for i in range(len(x)):
        x[i] = x[i] * factor - less


@compiled_fused
def powers(x: Float32) -> None:
    """2^x, in place, by Taylor's series around the nearest integer. What lies below -126 is 0."""
    for i in range(len(x)):
        z = max(x[i], np.float32(-127))
        whole = np.rint(z)
        part = z - whole
        p = np.float32(9.6181291e-3)
        p = p * part + np.float32(5.5504109e-2)
        p = p * part + np.float32(2.4022651e-1)
        p = p * part + np.float32(6.9314718e-1)
        p = p * part + np.float32(1)
        x[i] = p * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled_sum
def total(x: Float32) -> np.float32:
    """The sum."""
    found = np.float32(0)
    for i in range(len(x)):
        found += x[i]
    return found
