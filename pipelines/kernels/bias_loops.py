"""The softmax of attention with a bias by distances, as machine code: `attention_loops.py` has the
loops around it. What is added is never put in order by itself: each row takes its window."""

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64, UInt16
from shardrank.kernels.attention_loops import most, powers, shift, total
from shardrank.kernels.bf16 import narrow, widen
from shardrank.kernels.compiled import compiled

#: Rows that are worked on together, in a core's innermost cache.
_ROWS = 8
_TO_TWO = np.float32(1.4426950408889634)  # e^x = 2^(x / ln 2)


@compiled
def softmax_lines(x: UInt16, sizes: Int64, lines: Float32, scale: float) -> None:
    """Each row becomes softmax(row · scale + window) of its input's tokens, and 0 after them.

    Args:
        x: the bits of bf16[heads, n, length, length], contiguous; overwritten. `length` is a
            multiple of 8.
        sizes: int64[n], tokens of each input.
        lines: float32[heads, w], w no less than 2 · length: of all distances of keys from queries,
            0 in the place w / 2 - 1.
        scale: positive.
    """
    length, middle = x.shape[2], lines.shape[1] // 2 - 1
    rows = np.empty((_ROWS, length), np.float32)
    factor = np.float32(scale) * _TO_TWO
    for head in range(x.shape[0]):
        line = lines[head]
        for number in range(x.shape[1]):
            for begin in range(0, sizes[number], _ROWS):
                mine = x[head, number, begin : begin + _ROWS].reshape(_ROWS * length)
                widen(mine, rows.reshape(_ROWS * length).view(np.int32))
                for place in range(_ROWS):
                    first = middle - begin - place
                    _add_line(rows[place], line[first : first + length], factor)
                _finish(rows, sizes[number], mine)


@compiled
def softmax_distances(x: UInt16, sizes: Int64, up: UInt16, down: UInt16, scale: float) -> None:
    """As `softmax_lines`, with windows of rows of each query, and of each key; `x` · scale + both.

    Args:
        up: the bits of bf16[heads, n, length, w], of queries; w = 2 · length. Query i has key j in
            the place j - i + length - 1.
        down: the same of keys. Key j has query i in the place i - j + length - 1.
    """
    length, width = x.shape[2], up.shape[3]
    rows = np.empty((_ROWS, length), np.float32)
    window = np.empty((_ROWS, length), np.int32)
    across = np.empty((length, _ROWS), np.int32)
    factor = np.float32(scale) * _TO_TWO
    for head in range(x.shape[0]):
        for number in range(x.shape[1]):
            beside = down[head, number].reshape(length * width)
            for begin in range(0, sizes[number], _ROWS):
                mine = x[head, number, begin : begin + _ROWS].reshape(_ROWS * length)
                widen(mine, rows.reshape(_ROWS * length).view(np.int32))
                for place in range(_ROWS):
                    first = length - 1 - begin - place
                    own = up[head, number, begin + place]
                    widen(own[first : first + length], window[place])
                _take(beside, begin + length - 1, width - 1, across)
                _add_both(rows, window.view(np.float32), across.view(np.float32), factor)
                _finish(rows, sizes[number], mine)


@compiled
def _take(flat: UInt16, first: int, step: int, out: Int32) -> None:
    """The 8 numbers from each so many-th place on, bf16 to float32, both as their bits."""
    for j in range(len(out)):
        at = first + j * step
        for place in range(_ROWS):
            out[j, place] = np.int32(flat[at + place]) << np.int32(16)


@compiled
def _add_line(row: Float32, line: Float32, factor: np.float32) -> None:
    for i in range(len(row)):
        row[i] = row[i] * factor + line[i] * _TO_TWO


@compiled
def _add_both(rows: Float32, window: Float32, across: Float32, factor: np.float32) -> None:
    for place in range(_ROWS):
        row, own = rows[place], window[place]
        for j in range(len(row)):
            row[j] = row[j] * factor + (own[j] + across[j, place]) * _TO_TWO


@compiled
def _finish(rows: Float32, size: int, out: UInt16) -> None:
    """2^row over its sum, of so many numbers; 0 after them."""
    length = rows.shape[1]
    flat = rows.reshape(_ROWS * length)
    highest = np.zeros(1, np.float32)
    for place in range(_ROWS):
        row = rows[place]
        for i in range(size, length):
            row[i] = -np.inf
        highest.view(np.int32)[0] = most(row.view(np.int32))
        shift(row, np.float32(1), highest[0])
    powers(flat)
    for place in range(_ROWS):
        shift(rows[place], np.float32(1) / total(rows[place]), np.float32(0))
    narrow(flat.view(np.int32), out)
