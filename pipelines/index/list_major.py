"""List-major search: a list is decoded once, and multiplied with all queries that probe it.

A batch knows its queries, so the loops of an IVF search (Jégou et al. 2011) can be turned round:
the outer one goes over the lists, and instead of table look-ups for each query and code there is
one product of 8-bit matrices. Queries, centroids and rows are rounded to 8 bits; their products
are whole numbers, so that what a query finds depends neither on its batch nor on threads, nor on
the device that multiplies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int8, Int32, Int64
from shardrank.core.selection import RowSelector

#: The largest 8-bit number; its negative is the smallest that is used.
_MOST = 127

#: Bytes of the buffers in which a block of queries gathers what it finds.
_BUFFER_BYTES = 256 << 20

#: Room in a query's buffer beyond twice what is wanted.
_SLACK = 64


class StoredLists(Protocol):
    """Inverted lists, however they are stored."""

    @property
    def size(self) -> int:
        """Vectors in all of them."""

    @property
    def centroids(self) -> Int8:
        """int8[nlist, d], rounded by one scale for all of them."""

    def rotated(self, queries: Float32) -> Float32:
        """Queries as the centroids are."""

    def scaled(self, rotated: Float32) -> Float32:
        """Queries whose inner products with decoded rows order as those with the vectors do."""

    def rows(self, number: int, live: Bool | None) -> tuple[Int64, Int8]:
        """A list without the rows that are not live: positions int64[n], rows int8[n, d]."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Which queries probe which list.

    Attributes:
        queries: int32[Q · nprobe], the queries of list 0, then those of list 1, …
        ends: int64[nlist + 1], where each list's queries begin.
    """

    queries: Int32
    ends: Int64

    @classmethod
    def by_list(cls, lists: Int64, nlist: int) -> "Probes":
        """From int64[Q, nprobe], the lists of each query."""
        # Sixteen bits are put in order by counting them (numpy's radix sort).
        flat = lists.ravel().astype(np.uint16 if nlist <= 1 << 16 else np.int32)
        order, counts = np.argsort(flat, kind="stable"), np.bincount(flat, minlength=nlist)
        ends = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        return cls((order // max(1, lists.shape[1])).astype(np.int32), ends)

    def of(self, number: int) -> Int32:
        """int32[q], ascending."""
        return self.queries[self.ends[number] : self.ends[number + 1]]


class ListSearch:
    """Stored lists, searched on the device of a selector."""

    def __init__(self, lists: StoredLists, selector: RowSelector) -> None:
        self._lists, self._selector = lists, selector
        self._nlist = len(lists.centroids)

    def search(self, queries: Float32, nprobe: int, depth: int, live: Bool | None) -> Int64:
        """Positions int64[Q, depth], best first, padded with -1; see `Shard.search`."""
        found = np.empty((len(queries), depth), np.int64)
        height = max(1, _BUFFER_BYTES // (capacity(depth) * 8))
        for begin in range(0, len(queries), height):
            block = slice(begin, begin + height)
            found[block] = next(self.widening(queries[block], [nprobe], depth, live))
        return found

    def widening(
        self, queries: Float32, nprobes: Sequence[int], depth: int, live: Bool | None
    ) -> Iterator[Int64]:
        """What `search` finds in more and more lists, none of which is looked through twice.

        Args:
            queries: float32[Q, d], all of which have a buffer at the same time.
            nprobes: ascending.
            depth, live: see `Shard.search`.
        """
        rotated = self._lists.rotated(queries)
        nearest = self._nearest(rounded(rotated), nprobes[-1])
        best = self._selector.begin(rounded(self._lists.scaled(rotated)), depth)
        for begin, end in pairwise([0, *nprobes]):
            probes = Probes.by_list(nearest[:, begin:end], self._nlist)
            for asking, where, rows in self._probed(probes, live):
                best.add(asking, rows, where)
            yield best.sorted()

    def _nearest(self, small: Int8, nprobe: int) -> Int64:
        """int64[Q, nprobe] of int8[Q, d]: the lists whose centroids have the largest products."""
        out = np.empty((len(small), nprobe), np.int64)
        height = max(1, self._selector.cells // self._nlist)
        for begin in range(0, len(small), height):
            block = small[begin : begin + height]
            best, every = self._selector.begin(block, nprobe), np.arange(len(block), dtype=np.int32)
            best.add(every, self._lists.centroids, np.arange(self._nlist))
            out[begin : begin + height] = best.sorted()
        return out

    def _probed(self, probes: Probes, live: Bool | None) -> Iterator[tuple[Int32, Int64, Int8]]:
        """Each list that is probed: queries int32[q], positions int64[n], rows int8[n, d].

        It comes again for every so many queries that probe it.
        """
        for number in range(self._nlist):
            asking = probes.of(number)
            if not len(asking):
                continue
            positions, rows = self._lists.rows(number, live)
            if not len(positions):
                continue
            height = max(1, self._selector.cells // len(positions))
            for begin in range(0, len(asking), height):
                yield asking[begin : begin + height], positions, rows


def capacity(depth: int) -> int:
    """Hits that a query's buffer has room for: a full one is cut to the half."""
    return 2 * depth + _SLACK


def rounded(rows: Float32) -> Int8:
    """int8[n, d]: each row divided by its largest component and rounded; a row of zeros stays."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    scaled = rows * (_MOST / np.where(largest > 0, largest, 1))
    return np.rint(scaled).astype(np.int8)
