"""The loops that make posting lists of sparse rows, as machine code, and check them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled

#: 2^64 over the golden ratio: a product's upper bits depend on all of a term's.
_SPREAD = 0x9E3779B97F4A7C15


@compiled
def number_terms(terms: UInt64, known: UInt64, count: int, slots: Int32, out: Int32) -> int:
    """Number terms in the order in which they are first met; returns how many are known then.

    Args:
        terms: uint64[m].
        known: uint64[capacity], the terms so far; those that are new are put behind them.
        count: how many there are; capacity is at least `count` + m.
        slots: int32[2^b] with 2^b > capacity: a hash table of open addressing, the number of a term
            plus 1; 0 where none is.
        out: int32[m], filled.
    """
    shift = np.uint64(64 - _log2(len(slots)))
    mask = np.uint64(len(slots) - 1)
    for i in range(len(terms)):
        slot = (terms[i] * np.uint64(_SPREAD)) >> shift
        while slots[slot] > 0 and known[slots[slot] - 1] != terms[i]:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] == 0:
            known[count] = terms[i]
            count += 1
            slots[slot] = count
        out[i] = slots[slot] - 1
    return count


@compiled
def _log2(size: int) -> int:
    bits = 0
    while 1 << bits < size:
        bits += 1
    return bits


@compiled
def lay_out(
    rows: Int64,
    ends: Int64,
    numbers: Int32,
    weights: npt.NDArray[Any],
    begins: Int64,
    positions: Int32,
    out: npt.NDArray[Any],
) -> None:
    """Put each weight behind those of its term.

    Args:
        rows: int64[n], the positions of rows.
        ends: int64[n + 1], where each row's terms begin.
        numbers: int32[m] of terms.
        weights: [m], of any type.
        begins: int64[T], where the next posting of each term belongs; moved on.
        positions: int32[P], filled, and likewise `out` [P], the weights.
    """
    for row in range(len(rows)):
        for i in range(ends[row], ends[row + 1]):
            at = begins[numbers[i]]
            positions[at], out[at] = rows[row], weights[i]
            begins[numbers[i]] = at + 1


@compiled
def add_up(ends: Int64, weights: Float32, out: Float32) -> None:
    """The sum of each row's weights, in float64 and in their order: float32[n], filled."""
    for row in range(len(out)):
        total = 0.0
        for i in range(ends[row], ends[row + 1]):
            total += np.float64(weights[i])
        out[row] = total


@compiled
def ascend(ends: Int64, positions: Int32, rows: int) -> bool:
    """Whether the positions of each list ascend, from 0 on and below `rows`.

    Args:
        ends: int64[T + 1] that ascend from 0 to P.
        positions: int32[P].
        rows: how many positions there are.
    """
    wrong = 0
    for term in range(len(ends) - 1):
        last = -1
        for i in range(ends[term], ends[term + 1]):
            wrong |= int(positions[i] <= last)
            last = positions[i]
        wrong |= int(last >= rows)
    return wrong == 0
