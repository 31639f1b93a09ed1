"""List-major search: a list is decoded once, and multiplied with all queries that probe it.

A batch knows its queries, so the loops of an IVF search (Jégou et al. 2011) can be turned round:
the outer one goes over the lists, and instead of table look-ups for each query and code there is
one product of 8-bit matrices. Queries, centroids and rows are rounded to 8 bits; their products
are whole numbers, so that what a query finds depends neither on its batch nor on threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int8, Int32, Int64
from shardrank.core.protocols import Int8Product
from shardrank.kernels.search_loops import best_first, by_value, collect, decode

UInt8 = npt.NDArray[np.uint8]

#: The largest 8-bit number; its negative is the smallest that is used.
_MOST = 127

#: Bytes of the buffers in which a block of queries gathers what it finds.
_BUFFER_BYTES = 256 << 20

#: Bytes of products that are made and looked through at once: they stay in the cache, and in
#: memory that the process has already.
_PRODUCT_BYTES = 2 << 20

#: Room in a query's buffer beyond twice what is wanted: a full one is cut to the half.
_SLACK = 64


#: A list that is empty, or that nobody asks for.
_NOTHING = np.empty(0, np.int64), np.empty((0, 0), np.uint8)


class Decoder(Protocol):
    """What codes are, as 8-bit numbers."""

    def scale(self, queries: Float32) -> Float32:
        """Queries whose inner products with `rows` order as those with the vectors do."""

    def rows(self, codes: UInt8) -> Int8:
        """int8[n, d] of uint8[n, bytes]."""


class PQDecoder:
    """Product quantisation: the centroids, rounded by one scale for all of them."""

    def __init__(self, pq: Any) -> None:
        shape = (pq.M, pq.ksub, pq.dsub)
        self._tables = _rounded(faiss.vector_to_array(pq.centroids).reshape(1, -1)).reshape(shape)
        self._bits = int(pq.nbits)

    def scale(self, queries: Float32) -> Float32:
        return queries

    def rows(self, codes: UInt8) -> Int8:
        out = np.empty((len(codes), self._tables.shape[0] * self._tables.shape[2]), np.int8)
        decode(codes, self._tables, self._bits, out)
        return out


class SQDecoder:
    """Scalar quantisation to 8 bits: component i is least[i] + width[i]·(code + ½)/255.

    The widths go into the queries, and the constant, which is one for all rows, is left out.
    """

    def __init__(self, sq: Any) -> None:
        self._widths = faiss.vector_to_array(sq.trained).reshape(2, -1)[1]

    def scale(self, queries: Float32) -> Float32:
        scaled: Float32 = queries * self._widths
        return scaled

    def rows(self, codes: UInt8) -> Int8:
        return (codes ^ np.uint8(128)).view(np.int8)


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
        order, ends = by_value(lists.ravel(), nlist)
        return cls((order // lists.shape[1]).astype(np.int32), ends)

    def of(self, number: int) -> Int32:
        """int32[q], ascending."""
        return self.queries[self.ends[number] : self.ends[number + 1]]


class BestRows:
    """The best rows so far of each query, as many as are wanted."""

    def __init__(self, queries: int, depth: int) -> None:
        self._depth = depth
        self._hits = np.empty((queries, _capacity(depth)), np.int64)
        self._counts = np.zeros(queries, np.int32)
        self._floors = np.full(queries, np.iinfo(np.int64).min)

    def add(self, products: Int32, queries: Int32, positions: Int64) -> None:
        """int32[q, n] scores of queries int32[q] against the rows at positions int64[n]."""
        collect(products, queries, positions, self._hits, self._counts, self._floors, self._depth)

    def sorted(self) -> Int64:
        """Positions int64[Q, depth], best first, padded with -1; more may be added afterwards."""
        out = np.full((len(self._hits), self._depth), -1, np.int64)
        best_first(self._hits, self._counts, out)
        return out


class Lists:
    """The inverted lists of a faiss index, for list-major search."""

    def __init__(self, index: faiss.Index, product: Int8Product) -> None:
        self._index = index  # owns the memory of the lists
        self._ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
        self._product = product
        self._decoder = _decoder(self._ivf)
        self._centroids = _centroids(self._ivf)

    def search(self, queries: Float32, nprobe: int, depth: int, live: Bool | None) -> Int64:
        """Positions int64[Q, depth], best first, padded with -1; see `Shard.search`."""
        found = np.empty((len(queries), depth), np.int64)
        height = max(1, _BUFFER_BYTES // (_capacity(depth) * 8))
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
        rotated = self._rotated(queries)
        nearest = self._nearest(_rounded(rotated), nprobes[-1])
        small, best = _rounded(self._decoder.scale(rotated)), BestRows(len(queries), depth)
        for begin, end in pairwise([0, *nprobes]):
            probes = Probes.by_list(nearest[:, begin:end], self._ivf.nlist)
            for asking, where, rows in self._probed(probes, live):
                best.add(self._product(small[asking], rows), asking, where)
            yield best.sorted()

    def _nearest(self, small: Int8, nprobe: int) -> Int64:
        """int64[Q, nprobe] of int8[Q, d]: the lists whose centroids have the largest products."""
        out = np.empty((len(small), nprobe), np.int64)
        height = max(1, _PRODUCT_BYTES // (4 * self._ivf.nlist))
        for begin in range(0, len(small), height):
            block = small[begin : begin + height]
            best = BestRows(len(block), nprobe)
            products = self._product(block, self._centroids)
            best.add(products, np.arange(len(block), dtype=np.int32), np.arange(self._ivf.nlist))
            out[begin : begin + height] = best.sorted()
        return out

    def _probed(self, probes: Probes, live: Bool | None) -> Iterator[tuple[Int32, Int64, Int8]]:
        """Each list that is probed: queries int32[q], positions int64[n], rows int8[n, d].

        It comes again for every so many queries that probe it.
        """
        for number in range(self._ivf.nlist):
            asking = probes.of(number)
            positions, codes = self._live(number, live) if len(asking) else _NOTHING
            if not len(positions):
                continue
            rows, height = self._decoder.rows(codes), max(1, _PRODUCT_BYTES // (4 * len(positions)))
            for begin in range(0, len(asking), height):
                yield asking[begin : begin + height], positions, rows

    def _live(self, number: int, live: Bool | None) -> tuple[Int64, UInt8]:
        """A list without the rows that are not live."""
        positions, codes = self._list(number)
        if live is None:
            return positions, codes
        kept = live[positions]
        return positions[kept], codes[kept]

    def _list(self, number: int) -> tuple[Int64, UInt8]:
        """Positions int64[n] and codes uint8[n, bytes] of a list, in faiss's own memory."""
        stored = self._ivf.invlists
        size = stored.list_size(number)
        if not size:
            return _NOTHING
        codes = faiss.rev_swig_ptr(stored.get_codes(number), size * self._ivf.code_size)
        return faiss.rev_swig_ptr(stored.get_ids(number), size), codes.reshape(size, -1)

    def _rotated(self, queries: Float32) -> Float32:
        """Queries as the lists have them, after the index's rotation if it has one."""
        values = np.ascontiguousarray(queries)
        if isinstance(self._index, faiss.IndexPreTransform):
            chain: Any = self._index.chain
            for number in range(chain.size()):
                values = chain.at(number).apply(values)
        return values


def _decoder(ivf: Any) -> Decoder:
    return PQDecoder(ivf.pq) if isinstance(ivf, faiss.IndexIVFPQ) else SQDecoder(ivf.sq)


def _centroids(ivf: Any) -> Int8:
    """int8[nlist, d], rounded by one scale for all of them."""
    values: Float32 = ivf.quantizer.reconstruct_n(0, ivf.nlist)
    return _rounded(values.reshape(1, -1)).reshape(values.shape)


def _capacity(depth: int) -> int:
    return 2 * depth + _SLACK


def _rounded(rows: Float32) -> Int8:
    """int8[n, d]: each row divided by its largest component and rounded; a row of zeros stays."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    scaled = rows * (_MOST / np.where(largest > 0, largest, 1))
    return np.rint(scaled).astype(np.int8)
