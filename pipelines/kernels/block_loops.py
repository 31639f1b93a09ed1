"""The loops that bring a shard's postings in, a block of positions at a time, as machine code.

Most lists have few postings in a block, or none: a call to another function would take as long as
tens of them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt16
from shardrank.kernels.compiled import compiled_bare, inlined
from shardrank.kernels.instructions import fetch_line
from shardrank.kernels.weight_lanes import LANES, decode_lanes, divide_lanes

#: A term that occurs at one of so many positions of a block is laid out as a row.
DENSE = 10

#: What no posting has touched.
NONE = np.float32(-0.0)

#: Lists are brought into the cache so many before their turn.
AHEAD = 16

#: Weights are divided by no less, so that 0 / 0 is 0.
_LEAST = np.float32(1e-30)

#: More than any position.
_NEVER = np.iinfo(np.int32).max


class Lists(NamedTuple):
    """All posting lists of a shard.

    Attributes:
        positions: int32[P], ascending within a list.
        codes: uint16[P] that `table` looks up, or float32[P] weights, where the table is empty.
        table: float32[65536] or float32[0].
    """

    positions: Int32
    codes: npt.NDArray[Any]
    table: Float32


class Rows(NamedTuple):
    """What is known of a shard's positions.

    Attributes:
        documents: int32[rows], equal where positions are passages of one document.
        live: bool[rows] that may be found; bool[0]: all.
        norms: float32[rows], what a weight w is divided by, less w; float32[0]: it is not.
    """

    documents: Int32
    live: Bool
    norms: Float32


class Coming(NamedTuple):
    """What a sweep has yet to meet of T lists.

    Attributes:
        begins: int64[T], the first posting of each; moved on from block to block.
        ends: int64[T], where each list ends.
        next: int32[T], the position of that posting, or one before it.
        shared: bool[T], whether several queries ask for it.
    """

    begins: Int64
    ends: Int64
    next: Int32
    shared: Bool


class Block(NamedTuple):
    """The postings of T terms in a block of positions.

    Attributes:
        starts: int64[T + 1], where each term's begin.
        places: uint16[n], their positions, counted from the block's first.
        weights: float32[n]; -0.0 where the position is not live.
        dense: int32[T], the row of `rows` that holds a term's weights, too; -1: none.
        rows: float32[D, positions or more]; -0.0 where a term does not occur.
        laid: int64[1], how many rows are used.
    """

    starts: Int64
    places: UInt16
    weights: Float32
    dense: Int32
    rows: Float32
    laid: Int64


@compiled_bare
def fill(
    lists: Lists, coming: Coming, rows: Rows, begin: int, size: int, done: int, block: Block
) -> int:
    """Bring the postings of a block into it, as long as there is room.

    Args:
        lists: the shard's.
        coming: where to look from; moved behind them.
        rows: the shard's.
        begin: the block's first position.
        size: how many there are in it.
        done: how many terms are in the block.
        block: what is filled.

    Returns:
        How many terms are in it then.
    """
    limit, at = begin + size, block.starts[done]
    for term in range(done, len(coming.begins)):
        _fetch_ahead(lists, coming, term + AHEAD, limit)
        block.starts[term + 1], block.dense[term] = at, -1
        if coming.next[term] >= limit:
            continue
        first, end = coming.begins[term], coming.ends[term]
        last = _end_below(lists.positions, first, min(end, first + size), limit)
        if at + last - first > len(block.places):
            return term
        coming.begins[term] = last
        coming.next[term] = lists.positions[last] if last < end else _NEVER
        _bring(lists, first, last, rows, begin, block, at)
        count = last - first
        if coming.shared[term] and count * DENSE >= size:
            _lay(block, term, at, count)
        at += count
        block.starts[term + 1] = at
    return len(coming.begins)


@inlined
def _fetch_ahead(lists: Lists, coming: Coming, term: int, limit: int) -> None:
    """Bring the first postings of a term into the cache: those of no two lists lie together."""
    if term < len(coming.begins) and coming.next[term] < limit:
        begin = coming.begins[term]
        fetch_line(lists.positions, begin)
        fetch_line(lists.codes, begin)


@inlined
def _end_below(positions: Int32, first: int, end: int, limit: int) -> int:
    """Where positions[first : end], which ascend, reach the limit."""
    step = 1
    while first + step < end and positions[first + step] < limit:
        first, step = first + step, 2 * step
    last = min(first + step, end)
    while first < last:
        middle = (first + last) // 2
        if positions[middle] < limit:
            first = middle + 1
        else:
            last = middle
    return last


@inlined
def _bring(
    lists: Lists, first: int, last: int, rows: Rows, begin: int, block: Block, at: int
) -> None:
    """Put postings into a block, from `at` on."""
    count = last - first
    for i in range(np.uint64(count)):
        block.places[np.uint64(at) + i] = lists.positions[np.uint64(first) + i] - begin
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        decode_lanes(lists.codes, first + i, lists.table, block.weights, at + i)
    for i in range(whole, count):
        code = lists.codes[first + i]
        block.weights[at + i] = lists.table[np.uint16(code)] if len(lists.table) else code
    if len(rows.norms):
        for i in range(0, whole, LANES):
            divide_lanes(lists.positions, first + i, rows.norms, _LEAST, block.weights, at + i)
        for i in range(whole, count):
            weight = block.weights[at + i]
            norm = rows.norms[np.uint32(lists.positions[first + i])]
            block.weights[at + i] = weight / max(weight + norm, _LEAST)
    if len(rows.live):
        for i in range(count):
            if not rows.live[lists.positions[first + i]]:
                block.weights[at + i] = NONE


@inlined
def _lay(block: Block, term: int, at: int, count: int) -> None:
    """Lay a term out as a row, if there is room for one more."""
    number = block.laid[0]
    if number == len(block.rows):
        return
    for place in range(np.uint64(block.rows.shape[1])):
        block.rows[number, place] = NONE
    for i in range(np.uint64(at), np.uint64(at + count)):
        block.rows[number, block.places[i]] = block.weights[i]
    block.dense[term], block.laid[0] = number, number + 1
