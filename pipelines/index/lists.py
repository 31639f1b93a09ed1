"""The inverted lists of a faiss index, decoded to 8-bit numbers."""

from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int8, Int64
from shardrank.index.codec import transformed
from shardrank.index.list_major import rounded
from shardrank.kernels.search_loops import decode

UInt8 = npt.NDArray[np.uint8]

#: A list that is empty.
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
        self._tables = rounded(faiss.vector_to_array(pq.centroids).reshape(1, -1)).reshape(shape)
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


class FaissLists:
    """The lists of a faiss index (protocol: StoredLists)."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index  # owns the memory of the lists
        self._ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
        self._decoder = _decoder(self._ivf)
        self._centroids = _centroids(self._ivf)

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    @property
    def centroids(self) -> Int8:
        return self._centroids

    def rotated(self, queries: Float32) -> Float32:
        """Cut and turned as the index does it."""
        return transformed(self._index, queries)

    def scaled(self, rotated: Float32) -> Float32:
        return self._decoder.scale(rotated)

    def rows(self, number: int, live: Bool | None) -> tuple[Int64, Int8]:
        positions, codes = self._stored(number)
        if live is not None:
            kept = live[positions]
            positions, codes = positions[kept], codes[kept]
        return positions, self._decoder.rows(codes)

    def _stored(self, number: int) -> tuple[Int64, UInt8]:
        """Positions int64[n] and codes uint8[n, bytes] of a list, in faiss's own memory."""
        stored = self._ivf.invlists
        size = stored.list_size(number)
        if not size:
            return _NOTHING
        codes = faiss.rev_swig_ptr(stored.get_codes(number), size * self._ivf.code_size)
        return faiss.rev_swig_ptr(stored.get_ids(number), size), codes.reshape(size, -1)


def _decoder(ivf: Any) -> Decoder:
    return PQDecoder(ivf.pq) if isinstance(ivf, faiss.IndexIVFPQ) else SQDecoder(ivf.sq)


def _centroids(ivf: Any) -> Int8:
    """int8[nlist, d], rounded by one scale for all of them."""
    values: Float32 = ivf.quantizer.reconstruct_n(0, ivf.nlist)
    return rounded(values.reshape(1, -1)).reshape(values.shape)
