"""The loops of `index/term_search.py`, as machine code: many queries against a block of positions.

Scores are never negative, so the bits of a float32 order as the scores do, and -0.0, whose bits
are the least of all, stands for what no posting has touched: -0.0 + -0.0 = -0.0, and -0.0 + x = x.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt16, UInt64
from shardrank.kernels.compiled import compiled, written
from shardrank.kernels.search_loops import cut

#: Sums that are compared at once.
SPAN = 256

#: A term that occurs at one of so many positions of a block is laid out as a row.
DENSE = 5

#: Sums are reset one by one where fewer than one of so many was changed.
FEW = 4

#: The lower half of a hit.
_LOW = 0xFFFFFFFF

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
        rows: float32[D, positions]; -0.0 where a term does not occur.
        laid: int64[1], how many rows are used.
    """

    starts: Int64
    places: UInt16
    weights: Float32
    dense: Int32
    rows: Float32
    laid: Int64


class Found(NamedTuple):
    """The best documents of each query so far.

    A hit is one number, the bits of its score over its position's complement, so that hits order
    as numbers: by descending score, the lower position first.

    Attributes:
        hits: int64[Q, capacity], capacity > k, of each document its best passage.
        counts: int32[Q], how much of each is filled.
        floors: int32[Q], the bits of the score that a hit must have at least.
        pending: int64[Q], the best hit in the document that was met last; -1: none.
        tied: int64[Q], the hits for which there was no room, though they have the floor's score.
    """

    hits: Int64
    counts: Int32
    floors: Int32
    pending: Int64
    tied: Int64


@compiled
def fill(lists: Lists, coming: Coming, rows: Rows, begin: int, done: int, block: Block) -> int:
    """Bring the postings of a block into it, as long as there is room.

    In one loop without calls: most lists have few postings in a block, or none, and a call takes as
    long as tens of them.

    Args:
        lists: the shard's.
        coming: where to look from; moved behind them.
        rows: the shard's.
        begin: the block's first position.
        done: how many terms are in the block.
        block: what is filled.

    Returns:
        How many terms are in it then.
    """
    size, room = block.rows.shape[1], len(block.places)
    limit, at = begin + size, block.starts[done]
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
            _spread(block.places[at - count : at], block.weights[at - count : at], block.rows[laid])
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
    shift = _shift(len(sums))
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
            count, pending = _gather(
                bits, marks, groups, shift, begin, rows.documents, pending, met
            )
            found.pending[query] = pending
            if count:
                _keep(met[:count], query, found, k)
        if touched * FEW > len(sums):
            for place in range(len(sums)):
                sums[place] = _NONE
            continue
        for i in range(batch.ends[query], batch.ends[query + 1]):
            term = batch.terms[i]
            for j in range(block.starts[term], block.starts[term + 1]):
                sums[block.places[j]] = _NONE


@compiled
def _shift(size: int) -> int:
    """Places go by 64s into marks, and marks into the 64 groups of one number: a place's group is
    the place shifted by this."""
    shift = 6
    while size >> shift > 64:
        shift += 1
    return shift


@written
def _lowest(typing: Any, number: Any) -> Any:
    """Which is the lowest bit set of a uint64 that is not 0."""
    from numba.core import types  # `compiled` must import numba first

    return types.int64(types.uint64), _write_lowest


def _write_lowest(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))


@compiled
def _add(
    places: UInt16,
    weights: Float32,
    weight: float,
    sums: Float32,
    floor: float,
    marks: UInt64,
    shift: int,
) -> int:
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
def _mark(bits: Int32, floor: int, marks: UInt64, shift: int) -> int:
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
def _most(bits: Int32) -> int:
    most = bits[0]
    for i in range(len(bits)):
        most = max(most, bits[i])
    return most


@compiled
def _gather(
    bits: Int32,
    marks: UInt64,
    groups: int,
    shift: int,
    begin: int,
    documents: Int32,
    pending: int,
    met: Int64,
) -> tuple[int, int]:
    """The hits of documents at marked places, in their order; a document is done when the next one
    is met, since its passages are consecutive. Unmarks.

    Returns:
        How many hits are in `met`, and the one that is pending.
    """
    count = 0
    own = documents[_LOW - (pending & _LOW)] if pending >= 0 else -1
    while groups:
        group = _lowest(groups)
        groups &= groups - np.uint64(1)
        for word in range(group << (shift - 6), min((group + 1) << (shift - 6), len(marks))):
            mark = marks[word]
            marks[word] = 0
            while mark:
                place = (word << 6) + _lowest(mark)
                mark &= mark - np.uint64(1)
                document = documents[begin + place]
                hit = (np.int64(bits[place]) << 32) | (_LOW - (begin + place))
                met[count] = pending
                count += int(document != own and pending >= 0)
                pending = hit if document != own else max(pending, hit)
                own = document
    return count, pending


@compiled
def _keep(met: Int64, query: int, found: Found, k: int) -> None:
    """Put hits that reach the floor behind the others; cut where there is no more room."""
    hits, count = found.hits[query], found.counts[query]
    if len(met) > len(hits):  # most of them are not among their own k best
        _raise(cut(met, len(met), k) >> 32, query, found)
    floor, most = found.floors[query], (k + len(hits)) // 2
    for hit in met:
        hits[count] = hit
        count += int(hit >> 32 >= floor)
        if count == len(hits):
            count = _cut(query, found, count, k, most)
            floor = found.floors[query]
    found.counts[query] = count


@compiled
def _raise(floor: int, query: int, found: Found) -> None:
    if floor > found.floors[query]:
        found.floors[query], found.tied[query] = floor, 0


@compiled
def _cut(query: int, found: Found, count: int, k: int, most: int) -> int:
    """Keep the k best and those that tie with the last of them; without these if they are more than
    `most` in all. Returns how many are kept."""
    hits = found.hits[query]
    floor = cut(hits, count, k) >> 32
    _raise(floor, query, found)
    kept = k
    for i in range(k, count):
        hits[kept] = hits[i]
        kept += int(hits[i] >> 32 == floor)
    if kept > most:
        found.tied[query] += kept - k
        kept = k
    return kept


@compiled
def finish(found: Found, k: int) -> None:
    """After the last block: the k best documents of each query and their ties, best last."""
    for query in range(len(found.counts)):
        if found.pending[query] >= 0:
            _keep(found.pending[query : query + 1], query, found, k)
        count = found.counts[query]
        if count > k:
            count = _cut(query, found, count, k, count)
        found.hits[query, :count].sort()
        found.counts[query] = count


@compiled
def unpack(found: Found, query: Int32, position: Int32, bits: Int32) -> None:
    """All hits, query by query, best first: int32[m] each, filled; `bits` are the scores'."""
    at = 0
    for number in range(len(found.counts)):
        for i in range(found.counts[number] - 1, -1, -1):
            hit = found.hits[number, i]
            query[at], position[at], bits[at] = number, _LOW - (hit & _LOW), hit >> 32
            at += 1
