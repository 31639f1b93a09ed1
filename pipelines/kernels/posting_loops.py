"""The loops of `index/term_search.py`, as machine code: many queries against a block of positions.

Scores are never negative, so the bits of a float32 order as the scores do, and -0.0, whose bits
are the least of all, stands for what no posting has touched: -0.0 + -0.0 = -0.0, and -0.0 + x = x.

There are few calls, since numba counts the references to each array that is handed over: most lists
have few postings in a block, or none, and a call takes as long as tens of them.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt16, UInt64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.hit_loops import Found, gather, group_shift, keep

#: Sums that are compared at once.
SPAN = 256

#: A term that occurs at one of so many positions of a block is laid out as a row.
DENSE = 5

#: Sums are reset one by one where fewer than one of so many was changed.
FEW = 4

#: Weights are divided by no less, so that 0 / 0 is 0.
_LEAST = np.float32(1e-30)

#: More than any position.
_NEVER = np.iinfo(np.int32).max

#: What no posting has touched.
_NONE = np.float32(-0.0)


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


class Batch(NamedTuple):
    """Q queries of T distinct terms.

    Attributes:
        ends: int64[Q + 1], where each query's terms begin.
        terms: int32[m], which of the distinct terms, ascending within a query.
        weights: float32[m], none negative.
    """

    ends: Int64
    terms: Int32
    weights: Float32


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


@compiled
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
    limit, room, at = begin + size, len(block.places), block.starts[done]
    for term in range(done, len(coming.begins)):
        block.starts[term + 1], block.dense[term] = at, -1
        if coming.next[term] >= limit:
            continue
        posting, end = coming.begins[term], coming.ends[term]
        if at + min(size, end - posting) > room:
            return term
        position = np.int32(_NEVER)
        while posting < end:
            position = lists.positions[posting]
            if position >= limit:
                break
            block.places[at] = position - begin
            code = lists.codes[posting]
            weight = lists.table[np.uint16(code)] if len(lists.table) else np.float32(code)
            if len(rows.norms):
                weight /= max(weight + rows.norms[position], _LEAST)
            if len(rows.live) and not rows.live[position]:
                weight = _NONE
            block.weights[at] = weight
            at, posting = at + 1, posting + 1
        coming.begins[term] = posting
        coming.next[term] = position if posting < end else _NEVER
        count, laid = at - block.starts[term], block.laid[0]
        block.starts[term + 1] = at
        if coming.shared[term] and count * DENSE >= size and laid < len(block.rows):
            row = block.rows[laid, :size]
            _spread(block.places[at - count : at], block.weights[at - count : at], row)
            block.dense[term], block.laid[0] = laid, laid + 1
    return len(coming.begins)


@compiled
def _spread(places: UInt16, weights: Float32, row: Float32) -> None:
    row[:] = _NONE
    for i in range(len(places)):
        row[places[i]] = weights[i]


@compiled
def score(
    batch: Batch, block: Block, begin: int, rows: Rows, sums: Float32, found: Found, k: int
) -> None:
    """All queries against a block: add up scores, and keep those of the k best documents.

    Args:
        batch: the queries.
        block: its postings.
        begin: its first position.
        rows: the shard's.
        sums: float32[positions] of -0.0, a multiple of 64; so again afterwards.
        found: changed.
        k: documents wanted.
    """
    marks, met = np.zeros(len(sums) // 64, np.uint64), np.empty(len(sums) + 1, np.int64)
    bits, floors = sums.view(np.int32), found.floors.view(np.float32)
    shift = group_shift(len(marks))
    for query in range(len(batch.ends) - 1):
        touched, groups, laid = 0, np.uint64(0), False
        for i in range(batch.ends[query], batch.ends[query + 1]):
            term, weight = batch.terms[i], batch.weights[i]
            first, last = block.starts[term], block.starts[term + 1]
            touched += last - first
            if block.dense[term] >= 0:
                _add_row(block.rows[block.dense[term]], weight, sums)
                laid = True
            elif last > first:
                places, weights = block.places[first:last], block.weights[first:last]
                groups |= _add(places, weights, weight, sums, floors[query], marks, shift)
        if laid:
            groups = _mark(bits, found.floors[query], marks, shift)
        if groups:
            pending = found.pending[query]
            count, pending = gather(bits, marks, groups, begin, rows.documents, pending, met)
            found.pending[query] = pending
            if count:
                keep(met[:count], query, found, k)
        if touched * FEW > len(sums):
            for place in range(len(sums)):
                sums[place] = _NONE
            continue
        for i in range(batch.ends[query], batch.ends[query + 1]):
            term = batch.terms[i]
            for j in range(block.starts[term], block.starts[term + 1]):
                sums[block.places[j]] = _NONE


@compiled
def _add(
    places: UInt16,
    weights: Float32,
    weight: float,
    sums: Float32,
    floor: float,
    marks: UInt64,
    shift: int,
) -> np.uint64:
    """Add a term's products; returns the groups of places whose sums reach the floor, which are
    marked."""
    groups = np.uint64(0)
    for i in range(len(places)):
        total = sums[places[i]] + weight * weights[i]
        sums[places[i]] = total
        if total >= floor:
            place = np.uint64(places[i])
            marks[place >> np.uint64(6)] |= np.uint64(1) << (place & np.uint64(63))
            groups |= np.uint64(1) << (place >> np.uint64(shift))
    return groups


@compiled
def _add_row(row: Float32, weight: float, sums: Float32) -> None:
    for i in range(len(sums)):
        sums[i] += weight * row[i]


@compiled
def _mark(bits: Int32, floor: int, marks: UInt64, shift: int) -> np.uint64:
    """Mark all places whose sums reach the floor; returns their groups."""
    groups = np.uint64(0)
    for start in range(0, len(bits), SPAN):
        if _most(bits[start : start + SPAN]) < floor:
            continue
        for word in range(start >> 6, min(start + SPAN, len(bits)) >> 6):
            mark = np.uint64(0)
            for i in range(64):
                mark |= np.uint64(bits[(word << 6) + i] >= floor) << np.uint64(i)
            marks[word] = mark
            groups |= np.uint64(mark != 0) << np.uint64(word >> (shift - 6))
    return groups


@compiled
def _most(bits: Int32) -> np.int32:
    most: np.int32 = bits[0]
    for i in range(len(bits)):
        most = max(most, bits[i])
    return most
