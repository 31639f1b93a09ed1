"""The loops of `index/term_search.py`, as machine code: many queries against a block of positions.

Scores are never negative, so the bits of a float32 order as the scores do, and -0.0, whose bits
are the least of all, stands for what no posting has touched: -0.0 + -0.0 = -0.0, and -0.0 + x = x.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt16
from shardrank.kernels.compiled import compiled
from shardrank.kernels.search_loops import cut

#: Scores compared at once: whether any of them is wanted is one vector instruction or two.
STRIDE = 32

#: The lower half of a hit.
_LOW = 0xFFFFFFFF

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


class Block(NamedTuple):
    """The postings of T terms in a block of positions.

    Attributes:
        starts: int64[T + 1], where each term's begin.
        places: uint16[n], their positions, counted from the block's first.
        weights: float32[n]; -0.0 where the position is not live.
        dense: int32[T], the row of `rows` that holds a term's weights, too; -1: none.
        rows: float32[D, positions]; -0.0 where a term does not occur.
    """

    starts: Int64
    places: UInt16
    weights: Float32
    dense: Int32
    rows: Float32


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
def reach(lists: Lists, begins: Int64, ends: Int64, limit: int, starts: Int64) -> None:
    """How many postings of each list lie below a position, added up.

    Args:
        lists: the shard's.
        begins: int64[T], where to look from.
        ends: int64[T], where each list ends.
        limit: the position.
        starts: int64[T + 1], filled; the first is 0.
    """
    starts[0] = 0
    for term in range(len(begins)):
        low, step = begins[term], 1  # all before `low` lie below the limit
        while low + step <= ends[term] and lists.positions[low + step - 1] < limit:
            low, step = low + step, 2 * step
        while step > 0:
            if low + step <= ends[term] and lists.positions[low + step - 1] < limit:
                low += step
            step >>= 1
        starts[term + 1] = starts[term] + low - begins[term]


@compiled
def fill(lists: Lists, begins: Int64, rows: Rows, begin: int, block: Block) -> None:
    """Bring the postings of a block into it.

    Args:
        lists: the shard's.
        begins: int64[T], the first posting of each term in the block.
        rows: the shard's.
        begin: the block's first position.
        block: what is filled; its `starts` and `dense` are given.
    """
    for term in range(len(begins)):
        first, last = block.starts[term], block.starts[term + 1]
        places, weights = block.places[first:last], block.weights[first:last]
        _decode(lists, begins[term], begin, places, weights)
        _divide(rows.norms, begin, places, weights)
        _bury(rows.live, begin, places, weights)
        if block.dense[term] >= 0:
            _spread(places, weights, block.rows[block.dense[term]])


@compiled
def _decode(lists: Lists, first: int, begin: int, places: UInt16, weights: Float32) -> None:
    for i in range(len(places)):
        places[i] = np.uint16(lists.positions[first + i] - begin)
    if len(lists.table):
        for i in range(len(places)):
            weights[i] = lists.table[np.uint16(lists.codes[first + i])]
    else:
        for i in range(len(places)):
            weights[i] = np.float32(lists.codes[first + i])


@compiled
def _divide(norms: Float32, begin: int, places: UInt16, weights: Float32) -> None:
    if len(norms):
        mine = norms[begin:]
        for i in range(len(places)):
            whole = weights[i] + mine[places[i]]
            weights[i] /= max(whole, np.float32(1e-30))  # 0 / 0 is 0


@compiled
def _bury(live: Bool, begin: int, places: UInt16, weights: Float32) -> None:
    if len(live):
        mine = live[begin:]
        for i in range(len(places)):
            weights[i] = weights[i] if mine[places[i]] else _NONE


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
        sums: float32[positions] of -0.0, a multiple of STRIDE; so again afterwards.
        found: changed.
        k: documents wanted.
    """
    for query in range(len(batch.ends) - 1):
        touched = False
        for i in range(batch.ends[query], batch.ends[query + 1]):
            term = batch.terms[i]
            first, last = block.starts[term], block.starts[term + 1]
            touched |= last > first
            if block.dense[term] >= 0:
                _add_row(block.rows[block.dense[term]], batch.weights[i], sums)
            else:
                _add(block.places[first:last], block.weights[first:last], batch.weights[i], sums)
        if touched:
            _collect(sums, begin, query, rows.documents, found, k)


@compiled
def _add(places: UInt16, weights: Float32, weight: float, sums: Float32) -> None:
    for i in range(len(places)):
        sums[places[i]] += weight * weights[i]


@compiled
def _add_row(row: Float32, weight: float, sums: Float32) -> None:
    for i in range(len(sums)):
        sums[i] += weight * row[i]


@compiled
def _collect(sums: Float32, begin: int, query: int, documents: Int32, found: Found, k: int) -> None:
    """Put what reaches the floor among a query's hits, in the order of positions."""
    bits, floor = sums.view(np.int32), found.floors[query]
    for start in range(0, len(bits), STRIDE):
        wanted = np.int32(0)
        for i in range(start, start + STRIDE):
            wanted |= np.int32(bits[i] >= floor)
        if wanted:
            for i in range(start, start + STRIDE):
                if bits[i] >= floor:
                    _put(_hit(bits[i], begin + i), query, documents, found, k)
                    floor = found.floors[query]
        for i in range(start, start + STRIDE):
            sums[i] = _NONE


@compiled
def _hit(bits: int, position: int) -> int:
    return int((np.int64(bits) << 32) | (_LOW - position))


@compiled
def _put(hit: int, query: int, documents: Int32, found: Found, k: int) -> None:
    """A document is done when the next one is met: its passages are consecutive."""
    last = found.pending[query]
    if last >= 0 and documents[_LOW - (last & _LOW)] == documents[_LOW - (hit & _LOW)]:
        found.pending[query] = max(last, hit)
    else:
        _keep(last, query, found, k)
        found.pending[query] = hit


@compiled
def _keep(hit: int, query: int, found: Found, k: int) -> None:
    if hit < 0 or hit >> 32 < found.floors[query]:
        return
    count, capacity = found.counts[query], found.hits.shape[1]
    found.hits[query, count] = hit
    found.counts[query] = count + 1
    if count + 1 == capacity:
        _cut(query, found, k, (k + capacity) // 2)


@compiled
def _cut(query: int, found: Found, k: int, most: int) -> None:
    """Keep the k best and those that tie with the last of them; without these if they are more than
    `most` in all."""
    hits, count = found.hits[query], found.counts[query]
    floor = cut(hits, count, k) >> 32
    if floor > found.floors[query]:
        found.floors[query], found.tied[query] = floor, 0
    kept = k
    for i in range(k, count):
        if hits[i] >> 32 == floor:
            hits[kept] = hits[i]
            kept += 1
    if kept > most:
        found.tied[query] += kept - k
        kept = k
    found.counts[query] = kept


@compiled
def finish(found: Found, k: int) -> None:
    """After the last block: the k best documents of each query and their ties, best last."""
    for query in range(len(found.counts)):
        _keep(found.pending[query], query, found, k)
        found.pending[query] = -1
        if found.counts[query] > k:
            _cut(query, found, k, found.counts[query])
        found.hits[query, : found.counts[query]].sort()


@compiled
def unpack(found: Found, query: Int32, position: Int32, bits: Int32) -> None:
    """All hits, query by query, best first: int32[m] each, filled; `bits` are the scores'."""
    at = 0
    for number in range(len(found.counts)):
        for i in range(found.counts[number] - 1, -1, -1):
            hit = found.hits[number, i]
            query[at], position[at], bits[at] = number, _LOW - (hit & _LOW), hit >> 32
            at += 1
