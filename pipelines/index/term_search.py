"""Searching posting lists with all queries of a batch at once.

A shard is swept once, a block of positions at a time. The postings that a block has of the batch's
terms are brought into the innermost caches, with their weights, for all queries; then each query
adds up its scores in the block, and keeps those that may be among its k best documents.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt64
from shardrank.core.errors import InputError
from shardrank.core.sparse import SparseRows
from shardrank.kernels.block_loops import Block, Coming, Lists, Rows, fill, lay_out
from shardrank.kernels.hit_loops import Found, finish, unpack
from shardrank.kernels.posting_loops import Batch, Room, score

#: Positions in a block, a multiple of 64 and at most 65,536: their sums fit into the innermost
#: cache.
BLOCK = 8192

#: Positions in the first block; each further one has twice as many, up to `BLOCK`.
FIRST = 1024

#: Blocks that are brought in at once: where a list goes on is far from where others do.
SPAN = 4

#: Terms of a block laid out as rows, at most: those that come first of the ones that are frequent.
ROWS = 64

#: Floats in a line of the cache.
_LINE = 16

#: Bytes of hits looked for again at once, where more of them tie than there was room for.
_TIED_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Rows that queries found.

    Attributes:
        query: int32[m], ascending.
        position: int32[m]; those of a query are in the order of its scores, the best first, equal
            ones in ascending order.
        score: float32[m].
    """

    query: Int32
    position: Int32
    score: Float32


@dataclass(frozen=True, eq=False)
class Postings:
    """A shard's posting lists.

    Attributes:
        terms: uint64[T], ascending.
        ends: int64[T + 1], where each term's list begins.
        lists: the lists, one behind the other.
    """

    terms: UInt64
    ends: Int64
    lists: Lists


def search(postings: Postings, rows: Rows, queries: SparseRows, k: int) -> ScoredRows:
    """The k best documents of each query, and all that tie with the last of them.

    Takes 16 · k + 536 bytes for each query, 73 for each term, up to 12 for each posting of SPAN
    blocks, 4 · BLOCK · ROWS, and up to 40 bytes for each hit that is returned.

    Nothing is skipped for what it can bring at most, as MaxScore does. Among 208,786 passages of 60
    words of Wikipedia, k = 100, bounds leave half of the postings to be added, but 500 candidates
    of 6 terms, or 1,000 of 30, to be completed: that takes longer than to add the other half. Nor
    do sums of 16 bits pay that leave only those to be scored exactly that may be among the best:
    they are 1,100 and 1,500 of 200,000, and to score them took longer than to add floats at once.

    Args:
        postings: the shard's.
        rows: its positions.
        queries: of any terms.
        k: documents for each query, at least 1.

    Raises:
        InputError: a query's weight is negative or not finite.
    """
    if not (np.isfinite(queries.weights) & (queries.weights >= 0)).all():
        raise InputError(
            "Queries have weights that are negative or not finite.",
            "Weights of terms are finite numbers from 0 on.",
        )
    everyone = np.arange(queries.rows, dtype=np.int32)
    found = _sweep(postings, rows, queries, np.zeros(queries.rows, np.int32), k, 2 * k + 64)
    groups = [*_groups(found)]
    pieces = [_unpacked(found, everyone, found.tied == 0)]
    for asking, capacity in groups:
        floors, some = found.floors[asking], queries.taken(asking)
        again = _sweep(postings, rows, some, floors, k, capacity)
        pieces.append(_unpacked(again, everyone[asking], np.ones(len(asking), np.bool_)))
    return _joined(pieces)


def _sweep(
    postings: Postings, rows: Rows, queries: SparseRows, floors: Int32, k: int, capacity: int
) -> Found:
    """All blocks, with room for so many hits of each query.

    Args:
        postings: the shard's.
        rows: its positions.
        queries: Q of them.
        floors: int32[Q], as of `Found`; changed.
        k: documents for each query.
        capacity: more than k.
    """
    count, lists = queries.rows, postings.lists
    coming, batch = _batch(queries, postings)
    counts, pending, tied = np.zeros(count, np.int32), np.full(count, -1), np.zeros(count, np.int64)
    found = Found(np.empty((count, capacity), np.int64), counts, floors, pending, tied)
    room, block = _room(), _block(len(coming.begins))
    for begin, size, blocks in _spans(len(rows.documents)):
        block.filled[0], done, terms = 0, 0, len(coming.begins)
        while (done := fill(lists, coming, rows, begin, size, blocks, done, block)) < terms:
            block = _wider(block)
        for number in range(blocks):
            lay_out(block, coming.shared, number, size)
            start = begin + number * size
            score(batch, block, number, start, rows, _first(room, size), found, k)
    finish(found, k)
    return found


def _spans(rows: int) -> Iterator[tuple[int, int, int]]:
    """Where blocks begin that are brought in together, their size, and how many they are. Until
    there is a floor, all that matches is a hit: the first ones are small."""
    begin, size = 0, min(FIRST, BLOCK)
    while begin < rows and size < BLOCK:
        yield begin, size, 1
        begin, size = begin + size, min(2 * size, BLOCK)
    while begin < rows:
        blocks = min(SPAN, -(-(rows - begin) // BLOCK))
        yield begin, BLOCK, blocks
        begin += BLOCK * blocks


def _room() -> Room:
    sums = _aligned(BLOCK)
    sums[:] = -0.0
    return Room(sums, np.zeros(BLOCK // 64, np.uint64), np.empty(BLOCK + 1, np.int64))


def _aligned(size: int) -> Float32:
    """float32[size] that begins where a line of the cache does: instructions handle whole ones."""
    room = np.empty(size + _LINE, np.float32)
    begin = -(room.ctypes.data // 4) % _LINE
    return room[begin : begin + size]


def _first(room: Room, size: int) -> Room:
    """For a block of so many positions."""
    return room._replace(sums=room.sums[:size], marks=room.marks[: size // 64])


def _block(terms: int) -> Block:
    return Block(
        starts=np.zeros((SPAN + 1, terms), np.int64),
        filled=np.zeros(1, np.int64),
        places=np.empty(BLOCK, np.uint16),
        weights=np.empty(BLOCK, np.float32),
        dense=np.empty(terms, np.int32),
        rows=_aligned(ROWS * BLOCK).reshape(ROWS, BLOCK),
    )


def _wider(block: Block) -> Block:
    """With room for twice as many postings."""
    places, weights = (np.concatenate([old, old]) for old in (block.places, block.weights))
    return block._replace(places=places, weights=weights)


def _batch(queries: SparseRows, postings: Postings) -> tuple[Coming, Batch]:
    """The lists of the queries' distinct terms, and the queries without terms that have none."""
    terms = postings.terms
    place = np.searchsorted(terms, queries.terms)
    known = place < len(terms)
    known[known] = terms[place[known]] == queries.terms[known]
    distinct, numbers = np.unique(place[known], return_inverse=True)
    ends = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])[queries.ends]
    weights = queries.weights[known] + np.float32(0)  # no -0.0
    batch = Batch(ends, numbers.astype(np.int32), weights)
    shared = np.bincount(numbers, minlength=len(distinct)) > 1
    begins, stops = postings.ends[distinct], postings.ends[distinct + 1]
    return Coming(begins, stops, np.zeros(len(distinct), np.int32), shared), batch


def _groups(found: Found) -> Iterator[tuple[Int64, int]]:
    """Queries int64[q] with more ties than there was room for, and how much room those take."""
    asking = np.flatnonzero(found.tied)
    wanted = found.counts[asking] + found.tied[asking] + 1
    order = np.argsort(wanted, kind="stable")
    while len(order):
        sizes = wanted[order] * np.arange(1, len(order) + 1) * 8
        some = max(1, int(np.searchsorted(sizes, _TIED_BYTES, "right")))
        yield np.sort(asking[order[:some]]), int(wanted[order[some - 1]])
        order = order[some:]


def _unpacked(found: Found, numbers: Int32, wanted: Bool) -> ScoredRows:
    """The hits of wanted queries, bool[Q], under their numbers int32[Q]."""
    found.counts[~wanted] = 0
    size = int(found.counts.sum())
    query, position, bits = np.empty((3, size), np.int32)
    unpack(found, query, position, bits)
    return ScoredRows(numbers[query], position, bits.view(np.float32))


def _joined(pieces: list[ScoredRows]) -> ScoredRows:
    if len(pieces) == 1:
        return pieces[0]
    query = np.concatenate([piece.query for piece in pieces])
    order = np.argsort(query, kind="stable")
    position = np.concatenate([piece.position for piece in pieces])
    score = np.concatenate([piece.score for piece in pieces])
    return ScoredRows(query[order], position[order], score[order])
