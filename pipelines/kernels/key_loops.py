"""The loops of `corpus/changes.py`, as machine code: keys found among others, texts compared."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.memory import byte_at, word_at

Bytes = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]


@compiled
def find_hashes(
    hashes: UInt64, order: Int64, among: UInt64, among_order: Int64, places: Int64
) -> None:
    """Fill places[i], int64[n]: the first row of `among` that has hashes[order[i]], or -1.

    Args:
        hashes, among: uint64[n], uint64[m].
        order, among_order: int64[n], int64[m], by which each rises.
    """
    at = 0
    for i in range(len(order)):
        wanted = hashes[order[i]]
        while at < len(among_order) and among[among_order[at]] < wanted:
            at += 1
        known = at < len(among_order) and among[among_order[at]] == wanted
        places[i] = among_order[at] if known else -1


@compiled
def same_texts(
    data: Bytes,
    bounds: Int64,
    rows: Int64,
    other: Bytes,
    other_bounds: Int64,
    other_rows: Int64,
    same: Bool,
) -> None:
    """Fill same[i], bool[n]: whether text rows[i] of the one is text other_rows[i] of the other.

    Args:
        data, other: uint8[...], texts one behind the other.
        bounds, other_bounds: int64[...], where each begins, and where the last ends.
        rows, other_rows: int64[n].
    """
    base, other_base = np.int64(data.ctypes.data), np.int64(other.ctypes.data)
    for i in range(len(rows)):
        at, end = base + bounds[rows[i]], base + bounds[rows[i] + 1]
        there = other_base + other_bounds[other_rows[i]]
        equal = end - at == other_base + other_bounds[other_rows[i] + 1] - there
        while equal and at + 8 <= end:
            equal = word_at(at) == word_at(there)
            at, there = at + 8, there + 8
        while equal and at < end:
            equal = byte_at(at) == byte_at(there)
            at, there = at + 1, there + 1
        same[i] = equal
