"""The inner loops of search, as machine code; `lists.py` says what they are for."""

import numpy as np
import numpy.typing as npt

from pipelines.core.compiled import compiled
from pipelines.core.protocols import Int8, Int32, Int64

UInt8 = npt.NDArray[np.uint8]

#: Scores compared at once: whether any of them is wanted is one vector instruction or two.
_STRIDE = 32


@compiled
def decode(codes: UInt8, tables: Int8, bits: int, out: Int8) -> None:
    """PQ codes → the centroids that they name.

    Args:
        codes: uint8[n, bytes]; sub-code i is `bits` bits from bit i·bits on, low bits first (the
            layout of faiss's BitstringWriter; for 8 bits, a byte each).
        tables: int8[m, 2^bits, d/m] centroids.
        bits: of a sub-code, at most 8.
        out: int8[n, d], filled.
    """
    codebooks, size, width = tables.shape
    for row in range(codes.shape[0]):
        for book in range(codebooks):
            at = book * bits
            value = np.int32(codes[row, at >> 3])
            if (at & 7) + bits > 8:
                value |= np.int32(codes[row, (at >> 3) + 1]) << 8
            code = (value >> (at & 7)) & (size - 1)
            for i in range(width):
                out[row, book * width + i] = tables[book, code, i]


@compiled
def collect(
    products: Int32,
    queries: Int32,
    positions: Int64,
    scores: Int32,
    found: Int64,
    counts: Int32,
    floors: Int32,
    depth: int,
) -> None:
    """Put what lies above its query's floor into the query's buffer; cut buffers that are full.

    Args:
        products: int32[q, n] scores of some queries against some rows.
        queries: int32[q], which queries they are.
        positions: int64[n], which rows.
        scores, found: int32 and int64[Q, capacity], the buffers; capacity ≥ depth + 32.
        counts: int32[Q], how much of each buffer is filled.
        floors: int32[Q], the score that a row must beat: that of the depth-th best so far.
        depth: how many are wanted.
    """
    room = scores.shape[1] - _STRIDE
    scratch = np.empty(scores.shape[1], np.int32)
    for number in range(len(queries)):
        query = queries[number]
        row, mine, places = products[number], scores[query], found[query]
        floor, count = floors[query], int(counts[query])
        for begin in range(0, len(row), _STRIDE):
            piece = row[begin : begin + _STRIDE]
            wanted = np.int32(0)
            for score in piece:
                wanted |= np.int32(score > floor)
            if wanted == 0:
                continue
            if count > room:
                floor = cut(mine, places, count, depth, scratch)
                count = depth
            # No branch on the comparison: it would be mispredicted as often as not.
            for i in range(len(piece)):
                mine[count] = piece[i]
                places[count] = positions[begin + i]
                count += int(piece[i] > floor)
        floors[query], counts[query] = floor, count


@compiled
def cut(scores: Int32, found: Int64, count: int, depth: int, scratch: Int32) -> int:
    """Keep the `depth` best of a buffer in their order, the earlier of equals; returns the least.

    Args:
        scores, found: int32 and int64[capacity], of which `count` ≥ depth are filled.
        scratch: int32[capacity], overwritten.
    """
    for i in range(count):  # numba would copy a slice one number at a time
        scratch[i] = scores[i]
    least = _largest(scratch[:count], depth)
    ties = depth
    for i in range(count):
        ties -= int(scores[i] > least)
    kept = 0
    for i in range(count):
        score, tie = scores[i], int(scores[i] == least) & int(ties > 0)
        scores[kept], found[kept] = score, found[i]
        kept += int(score > least) | tie
        ties -= tie
    return least


@compiled
def _largest(values: Int32, k: int) -> int:
    """The k-th largest value; reorders them (Hoare's quickselect, partitioned without branches)."""
    low, high = 0, len(values)
    while high - low > 1:
        pivot = values[(low + high) >> 1]
        above = low
        for i in range(low, high):
            value = values[i]
            values[i], values[above] = values[above], value
            above += int(value > pivot)
        if k <= above:
            high = above
            continue
        equal = above
        for i in range(above, high):
            value = values[i]
            values[i], values[equal] = values[equal], value
            equal += int(value == pivot)
        if k <= equal:
            return int(pivot)
        low = equal
    return int(values[low])


@compiled
def best_first(scores: Int32, found: Int64, counts: Int32, out: Int64) -> None:
    """Each buffer's best positions by descending score, then position, into out: int64[Q, depth].

    What a buffer is short of `depth` stays as it is in `out`. Buffers are reordered.
    """
    depth, scratch = out.shape[1], np.empty(scores.shape[1], np.int32)
    for query in range(len(counts)):
        if counts[query] > depth:
            cut(scores[query], found[query], counts[query], depth, scratch)
        order = np.empty(min(counts[query], depth), np.int64)
        for i in range(len(order)):
            # Positions are below 2^31, so one number holds both, and sorts as the pair does.
            order[i] = (-np.int64(scores[query, i]) << 32) | found[query, i]
        order.sort()
        for i in range(len(order)):
            out[query, i] = order[i] & 0xFFFFFFFF


@compiled
def by_value(values: Int64, size: int) -> tuple[Int64, Int64]:
    """Whole numbers in order, the earlier of equals first, by counting them.

    Args:
        values: int64[n], from -1 to size - 1.
        size: room for counts; there is little of it beside the values.

    Returns:
        order: int64[n], where the values stand as they ascend.
        ends: int64[size + 1], how many values are less than 0, 1, … size.
    """
    ends, order = np.zeros(size + 1, np.int64), np.empty(len(values), np.int64)
    for value in values:
        ends[value + 1] += 1
    less = 0
    for i in range(len(ends)):
        less, ends[i] = less + ends[i], less
    for i in range(len(values)):
        order[ends[values[i] + 1]] = i
        ends[values[i] + 1] += 1
    return order, ends
