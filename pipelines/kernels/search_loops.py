"""The inner loops of search, as machine code; `lists.py` says what they are for."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int8, Int32, Int64
from shardrank.kernels.compiled import compiled

UInt8 = npt.NDArray[np.uint8]

#: Scores compared at once: whether any of them is wanted is one vector instruction or two.
_STRIDE = 32

#: The lower half of a hit.
_LOW = 0xFFFFFFFF


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
    found: Int64,
    counts: Int32,
    floors: Int64,
    depth: int,
) -> None:
    """Put what lies above its query's floor into the query's buffer; cut buffers that are full.

    A hit is one number, its score over its position's complement, so that hits order as numbers:
    by descending score, the lower position first.

    Args:
        products: int32[q, n] scores of some queries against some rows.
        queries: int32[q], which queries they are.
        positions: int64[n] < 2^31, which rows.
        found: int64[Q, capacity], the buffers of hits; capacity ≥ depth + 32.
        counts: int32[Q], how much of each buffer is filled.
        floors: int64[Q], the hit that a row must beat: the depth-th best so far.
        depth: how many are wanted.
    """
    room = found.shape[1] - _STRIDE
    whole = products.shape[1] - products.shape[1] % _STRIDE  # loops of a known length are fast
    for number in range(len(queries)):
        query = queries[number]
        row, mine = products[number], found[query]
        floor, count = floors[query], int(counts[query])
        for begin in range(0, whole, _STRIDE):
            least, wanted = np.int32(floor >> 32), np.int32(0)
            for i in range(_STRIDE):
                wanted |= np.int32(row[begin + i] >= least)
            if wanted == 0:
                continue
            if count > room:
                floor, count = cut(mine, count, depth), depth
            for i in range(_STRIDE):
                count = _put(mine, count, floor, row[begin + i], positions[begin + i])
        if count > room:
            floor, count = cut(mine, count, depth), depth
        for i in range(whole, len(row)):
            count = _put(mine, count, floor, row[i], positions[i])
        floors[query], counts[query] = floor, count


@compiled
def _put(hits: Int64, count: int, floor: int, score: int, position: int) -> int:
    """Put a hit behind the others; returns how many there are with it, if it beats the floor.

    No branch on the comparison: it would be mispredicted as often as not.
    """
    hit = (np.int64(score) << 32) | (_LOW - position)
    hits[count] = hit
    return count + int(hit > floor)


@compiled
def cut(hits: Int64, count: int, depth: int) -> int:
    """Bring the `depth` largest of `count` distinct numbers to the front; returns the least of
    them (Hoare's quickselect, partitioned without branches)."""
    low, high = 0, count
    while True:
        middle = (low + high) >> 1
        pivot = hits[middle]
        hits[middle] = hits[low]
        above = low
        for i in range(low + 1, high):
            value = hits[i]
            hits[i] = hits[above + 1]
            hits[above + 1] = value
            above += int(value > pivot)
        hits[low] = hits[above]
        hits[above] = pivot
        if above == depth - 1:
            return int(pivot)
        if above < depth:
            low = above + 1
        else:
            high = above


@compiled
def best_first(found: Int64, counts: Int32, out: Int64) -> None:
    """The positions of each buffer's best hits, best first, into out: int64[Q, depth].

    What a buffer is short of `depth` stays as it is in `out`. Buffers are reordered.
    """
    depth = out.shape[1]
    for query in range(len(counts)):
        hits, count = found[query], counts[query]
        if count > depth:
            cut(hits, count, depth)
            count = depth
        hits[:count].sort()
        for i in range(count):
            out[query, i] = _LOW - (hits[count - 1 - i] & _LOW)


@compiled
def by_value(values: Int32 | Int64, size: int) -> tuple[Int64, Int64]:
    """Whole numbers in order, the earlier of equals first, by counting them.

    Args:
        values: int32[n] or int64[n], from -1 to size - 1.
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
