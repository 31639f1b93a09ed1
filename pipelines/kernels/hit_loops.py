"""The loops that keep the best hits of each query, as machine code: k documents, and their ties."""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import lowest
from shardrank.kernels.row_lanes import clear_word
from shardrank.kernels.search_loops import cut

#: The lower half of a hit.
_LOW = 0xFFFFFFFF


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
def group_shift(marks: int) -> int:
    """Places are marked by the bits of uint64[marks], and these go into groups, the 64 bits of one
    number: a place's group is the place shifted by this."""
    shift = 6
    while marks << 6 >> shift > 64:
        shift += 1
    return shift


@compiled
def gather(
    sums: Float32,
    marks: UInt64,
    groups: np.uint64,
    begin: int,
    documents: Int32,
    pending: int,
    met: Int64,
) -> tuple[int, int]:
    """The hits of documents at marked places, in their order. Unmarks, and resets their sums.

    A document is done when the next one is met, since its passages are consecutive. Places that are
    not live may be marked while a floor is 0; their hits are negative, and never kept.

    Args:
        sums: float32[positions], the scores; -0.0 afterwards, where one of 64 is marked.
        marks: uint64[positions / 64].
        groups: of the marks that are not 0; see `group_shift`.
        begin: the block's first position.
        documents: int32[rows].
        pending: the best hit in the document that was met last.
        met: int64[positions + 1], filled.

    Returns:
        How many hits are in `met`, and the one that is pending.
    """
    count, shift, bits = 0, group_shift(len(marks)), sums.view(np.int32)
    own = documents[_LOW - (pending & _LOW)] if pending >= 0 else -1
    while groups:
        group = lowest(groups)
        groups &= groups - np.uint64(1)
        for word in range(group << (shift - 6), min((group + 1) << (shift - 6), len(marks))):
            mark = marks[word]
            if mark == 0:
                continue
            marks[word] = 0
            while mark:
                place = (word << 6) + lowest(mark)
                mark &= mark - np.uint64(1)
                document = documents[begin + place]
                hit = (np.int64(bits[place]) << 32) | (_LOW - (begin + place))
                met[count] = pending
                count += int(document != own and pending >= 0)
                pending = hit if document != own else max(pending, hit)
                own = document
            clear_word(sums, word)
    return count, pending


@compiled
def keep(met: Int64, query: int, found: Found, k: int) -> None:
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
            keep(found.pending[query : query + 1], query, found, k)
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
