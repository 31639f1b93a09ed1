"""Search that counts documents: candidates until a query has met as many of them as it is to.

A query's candidates are a beginning of the shard's passages in the order of their codes: up to the
first passage of its last document. That says nothing of how they are looked for, so what a query
finds depends neither on its batch nor on how wide a search happened to be tried first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.kernels.document_loops import meet, move_runs, place

#: Candidates looked for at once, before those beyond the last document are dropped.
_AT_ONCE = 1 << 24

#: Candidates tried first for each document that is to be met, at most. Measured on 2,083 articles
#: of Wikipedia, of 3 passages on average and 143 at most, with PQ codes: half of the queries meet
#: 200 documents in 439 candidates, nine tenths in 613, all in 874.
_TRIED = 3


class CodedShard(Protocol):
    """Codes of a shard's rows, in lists. Queries are vectors float32[Q, d], or TokenVectors."""

    @property
    def size(self) -> int:
        """Codes in it."""

    @property
    def nlist(self) -> int:
        """Lists in it."""

    def search(self, queries: Any, nprobe: int, depth: int, live: Bool | None = None) -> Int64:
        """Positions int64[Q, depth] of candidates, best first by their codes, padded with -1."""

    def widening(
        self, queries: Any, nprobes: Sequence[int], depth: int, live: Bool | None = None
    ) -> Iterator[Int64]:
        """As `search` by each of `nprobes`, ascending and no more than `nlist`."""


@dataclass(frozen=True)
class Reach:
    """How far a shard is searched.

    Attributes:
        nprobe: lists probed for each query.
        depth: documents whose passages are refined.
        least: documents that a query is given, if need be from further lists; no more than `depth`,
            nor than are live in the shard.
    """

    nprobe: int
    depth: int
    least: int


@dataclass(frozen=True, eq=False)
class ShardHits:
    """What Q queries find in a shard: candidates, which are then refined.

    Attributes:
        positions: int32[m], those of query 0, best first by their codes, then those of query 1, …
        ends: int64[Q + 1], where each query's begin.
    """

    positions: Int32
    ends: Int64

    @property
    def queries(self) -> Int32:
        """int32[m]: whose candidates they are."""
        return np.repeat(np.arange(len(self.ends) - 1, dtype=np.int32), np.diff(self.ends))

    def of(self, begin: int, end: int) -> "ShardHits":
        """Those of queries `begin` to `end`."""
        ends = self.ends[begin : end + 1]
        return ShardHits(self.positions[ends[0] : ends[-1]], ends - ends[0])


@dataclass(frozen=True, eq=False)
class _Round:
    """Queries int64[q] that are looked for at once and in one way."""

    asking: Int64
    nprobe: int
    width: int


@dataclass(frozen=True, eq=False)
class _Taken:
    """Candidates int32[m] of the queries int64[q] that are done, so many int32[q] of each; and the
    rounds in which the others are looked for again."""

    asking: Int64
    lengths: Int32
    positions: Int32
    again: Sequence[_Round]


class DocumentSearch:
    """A shard whose documents are known.

    Most queries are done in the first round. Who has met too few documents is looked for again:
    with twice as many candidates, or in twice as many lists where these hold no more of them.
    """

    def __init__(self, shard: CodedShard, documents: Int32, live: Bool | None) -> None:
        """`documents` int32[positions] numbers each row's document, from 0, without a gap;
        `live` bool[positions] says which may be found; None: all."""
        self._shard, self._documents, self._live = shard, documents, live
        self._count = int(documents.max(initial=-1)) + 1

    @property
    def positions(self) -> int:
        """Rows of the shard's parts."""
        return len(self._documents)

    def find(self, queries: Any, reach: Reach) -> ShardHits:
        """The candidates of Q queries: of each `reach.depth` documents, or all that its
        lists hold, and those are at least `reach.least`."""
        return self.find_each(queries, [reach])[0]

    def find_each(self, queries: Any, reaches: Sequence[Reach]) -> list[ShardHits]:
        """What `find` finds by each reach: of ascending nprobes, and of one depth.

        A list is looked through once for all of them, as long as it holds documents enough.
        """
        width = self._tried(reaches[0].depth)
        nprobes = [min(reach.nprobe, self._shard.nlist) for reach in reaches]
        taken: list[list[_Taken]] = [[] for _ in reaches]
        for turn in _rounds(np.arange(len(queries)), nprobes[-1], width):
            widening = self._shard.widening(queries[turn.asking], nprobes, width, self._live)
            for found, nprobe, reach, mine in zip(widening, nprobes, reaches, taken, strict=True):
                mine.append(self._take(found, _Round(turn.asking, nprobe, width), reach))
        return [self._finished(queries, *both) for both in zip(reaches, taken, strict=True)]

    def _finished(self, queries: Any, reach: Reach, taken: list[_Taken]) -> ShardHits:
        """All candidates by one reach: `taken` ones, and those of the rounds that they leave."""
        for one in taken:  # grows meanwhile
            for turn in one.again:
                found = self._shard.search(
                    queries[turn.asking], turn.nprobe, turn.width, self._live
                )
                taken.append(self._take(found, turn, reach))
        return _by_query(taken)

    def _take(self, found: Int64, turn: _Round, reach: Reach) -> _Taken:
        """What int64[q, width] positions that a round found come to."""
        lengths, met = np.empty((2, len(found)), np.int32)
        seen = np.full(self._count, -1, np.int32)
        meet(found, self._documents, reach.depth, seen, lengths, met)
        emptied = (found[:, -1] < 0) | (turn.width >= self._shard.size)  # the lists that it probed
        last = turn.nprobe >= self._shard.nlist
        done = (met == reach.depth) | (emptied & ((met >= reach.least) | last))
        lengths[~done] = 0
        kept = found[np.arange(turn.width, dtype=np.int32) < lengths[:, None]].astype(np.int32)
        deeper, further = turn.asking[~done & ~emptied], turn.asking[~done & emptied]
        width = self._width(2 * turn.width)
        again = [*_rounds(deeper, turn.nprobe, width), *_rounds(further, 2 * turn.nprobe, width)]
        return _Taken(turn.asking[done], lengths[done], kept, again)

    def _tried(self, depth: int) -> int:
        """Half as many again as documents have further passages; where they have none, `depth`."""
        further = (len(self._documents) - self._count) / max(1, self._count)
        return self._width(int(depth * min(1 + 1.5 * further, _TRIED)))

    def _width(self, wanted: int) -> int:
        return max(1, min(wanted, self._shard.size))

    def places(self, found: ShardHits) -> Int32:
        """int32[m]: the least depth at which each candidate would be among them."""
        out, seen = np.empty(len(found.positions), np.int32), np.full(self._count, -1, np.int32)
        place(found.positions, found.ends, self._documents, seen, out)
        return out


def _rounds(asking: Int64, nprobe: int, width: int) -> Iterator[_Round]:
    height = max(1, _AT_ONCE // width)
    blocks = (asking[begin : begin + height] for begin in range(0, len(asking), height))
    return (_Round(block, nprobe, width) for block in blocks)


def _by_query(taken: Sequence[_Taken]) -> ShardHits:
    """All rounds' candidates, in the order of their queries."""
    asking = np.concatenate([np.empty(0, np.int64), *(one.asking for one in taken)])
    lengths = np.concatenate([np.empty(0, np.int32), *(one.lengths for one in taken)])
    positions = np.concatenate([np.empty(0, np.int32), *(one.positions for one in taken)])
    order = np.argsort(asking, kind="stable")
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    out = np.empty_like(positions)
    move_runs(positions, starts[order], lengths[order], out)
    return ShardHits(out, np.concatenate([[0], np.cumsum(lengths[order], dtype=np.int64)]))
