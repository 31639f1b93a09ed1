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
    """The postings of T terms in S blocks of positions, of which one at a time is searched.

    Attributes:
        starts: int64[S + 1, T], where each term's begin in each block, and end in the last; those
            of a term follow one another.
        filled: int64[1], the postings that are brought in.
        places: uint16[n], their positions, counted from their block's first.
        weights: float32[n]; -0.0 where the position is not live.
        dense: int32[T], the row of `rows` that holds a term's weights in the block that is
            searched; -1: none.
        rows: float32[D, positions or more]; -0.0 where a term does not occur.
    """

    starts: Int64
    filled: Int64
    places: UInt16
    weights: Float32
    dense: Int32
    rows: Float32


@compiled_bare
def fill(
    lists: Lists,
    coming: Coming,
    rows: Rows,
    begin: int,
    size: int,
    blocks: int,
    done: int,
    block: Block,
) -> int:
    """Bring the postings of blocks in, as long as there is room.

    Args:
        lists: the shard's.
        coming: where to look from; moved behind them.
        rows: the shard's.
        begin: the first block's first position.
        size: how many there are in each.
        blocks: how many there are.
        done: how many terms are brought in.
        block: what is filled.

    Returns:
        How many terms are brought in then.
    """
    limit, at = begin + size * blocks, block.filled[0]
    for term in range(done, len(coming.begins)):
        _fetch_ahead(lists, coming, term + AHEAD, limit)
        first, end = coming.begins[term], coming.ends[term]
        if coming.next[term] < limit:
            if at + min(end - first, size * blocks) > len(block.places):
                block.filled[0] = at
                return term
            last = _place(lists.positions, first, end, begin, size, blocks, term, at, block)
            coming.begins[term] = last
            coming.next[term] = lists.positions[last] if last < end else _NEVER
            _weigh(lists, first, last, rows, block.weights, at)
            at += last - first
        else:
            for number in range(blocks + 1):
                block.starts[number, term] = at
    block.filled[0] = at
    return len(coming.begins)


@inlined
def _place(
    positions: Int32,
    first: int,
    end: int,
    begin: int,
    size: int,
    blocks: int,
    term: int,
    at: int,
    block: Block,
) -> int:
    """Where a term's postings are in each block; returns where its list goes on behind them."""
    for number in range(blocks):
        block.starts[number, term] = at
        start = begin + number * size
        last = _end_below(positions, first, min(end, first + size), start + size)
        for i in range(np.uint64(last - first)):
            block.places[np.uint64(at) + i] = positions[np.uint64(first) + i] - start
        first, at = last, at + last - first
    block.starts[blocks, term] = at
    return first


@compiled_bare
def lay_out(block: Block, shared: Bool, number: int, size: int) -> None:
    """Lay out those of a block's terms that are frequent, as long as there are rows.

    Args:
        block: what is brought in; changed.
        shared: bool[T], which terms several queries ask for.
        number: which block.
        size: how many positions there are in it.
    """
    laid, starts = 0, block.starts
    for term in range(len(block.dense)):
        block.dense[term] = -1
        first, last = starts[number, term], starts[number + 1, term]
        if shared[term] and (last - first) * DENSE >= size and laid < len(block.rows):
            for place in range(np.uint64(size)):
                block.rows[laid, place] = NONE
            for i in range(np.uint64(first), np.uint64(last)):
                block.rows[laid, block.places[i]] = block.weights[i]
            block.dense[term] = laid
            laid += 1


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
def _weigh(lists: Lists, first: int, last: int, rows: Rows, weights: Float32, at: int) -> None:
    """The weights of some postings, from `at` on."""
    count = last - first
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        decode_lanes(lists.codes, first + i, lists.table, weights, at + i)
    for i in range(whole, count):
        code = lists.codes[first + i]
        weights[at + i] = lists.table[np.uint16(code)] if len(lists.table) else code
    if len(rows.norms):
        _normalise(lists.positions, first, count, rows.norms, weights, at)
    if len(rows.live):
        for i in range(count):
            if not rows.live[lists.positions[first + i]]:
                weights[at + i] = NONE


@inlined
def _normalise(
    positions: Int32, first: int, count: int, norms: Float32, weights: Float32, at: int
) -> None:
    """Divide each weight by its sum with what its position adds."""
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        divide_lanes(positions, first + i, norms, _LEAST, weights, at + i)
    for i in range(whole, count):
        weight = weights[at + i]
        norm = norms[np.uint32(positions[first + i])]
        weights[at + i] = weight / max(weight + norm, _LEAST)
