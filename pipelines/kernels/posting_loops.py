"""The loops of `index/term_search.py`, as machine code: many queries against a block of positions.

Scores are never negative, so the bits of a float32 order as the scores do, and -0.0, whose bits
are the least of all, stands for what no posting has touched: -0.0 + -0.0 = -0.0, and -0.0 + x = x.
"""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.kernels.block_loops import Block, Rows
from shardrank.kernels.compiled import compiled_bare, inlined
from shardrank.kernels.hit_loops import Found, gather, group_shift, keep
from shardrank.kernels.instructions import fetch_line
from shardrank.kernels.row_lanes import add_row, clear_word, reaching_word

#: Terms are brought into the cache so many before their turn.
AHEAD = 4


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


class Room(NamedTuple):
    """Room for a query's work in a block of `size` positions, a multiple of 64.

    Attributes:
        sums: float32[size] of -0.0; so again afterwards.
        marks: uint64[size / 64] of 0; likewise.
        met: int64[size + 1].
    """

    sums: Float32
    marks: UInt64
    met: Int64


@compiled_bare
def score(
    batch: Batch,
    block: Block,
    number: int,
    begin: int,
    rows: Rows,
    room: Room,
    found: Found,
    k: int,
) -> None:
    """All queries against a block: add up scores, and keep those of the k best documents.

    Args:
        batch: the queries.
        block: the postings of this one and others.
        number: which of these it is.
        begin: its first position.
        rows: the shard's.
        room: for a query's work.
        found: changed.
        k: documents wanted.
    """
    last = len(batch.terms) - 1
    for query in range(len(batch.ends) - 1):
        for i in range(batch.ends[query], batch.ends[query + 1]):
            ahead = block.starts[number, batch.terms[min(i + AHEAD, last)]]
            fetch_line(block.places, ahead)
            fetch_line(block.weights, ahead)
            _add(block, number, batch.terms[i], batch.weights[i], room.sums)
        groups = _mark(room, found.floors[query])
        if groups:
            pending = found.pending[query]
            count, pending = gather(
                room.sums, room.marks, groups, begin, rows.documents, pending, room.met
            )
            found.pending[query] = pending
            if count:
                keep(room.met[:count], query, found, k)


@inlined
def _add(block: Block, number: int, term: int, weight: float, sums: Float32) -> None:
    """Add a term's products."""
    if block.dense[term] >= 0:
        add_row(sums, block.rows, block.dense[term], weight)
        return
    first, last = block.starts[number, term], block.starts[number + 1, term]
    for i in range(np.uint64(first), np.uint64(last)):
        sums[block.places[i]] += weight * block.weights[i]


@inlined
def _mark(room: Room, floor: int) -> np.uint64:
    """Mark all places whose sums reach the floor; returns their groups. Resets the other sums, but
    for those among 64 of which one is marked."""
    groups, shift = np.uint64(0), group_shift(len(room.marks)) - 6
    for word in range(len(room.marks)):
        mark = reaching_word(room.sums, word, floor)
        room.marks[word] = mark
        if mark == 0:
            clear_word(room.sums, word)
        groups |= np.uint64(mark != 0) << np.uint64(word >> shift)
    return groups
