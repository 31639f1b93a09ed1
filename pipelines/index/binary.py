"""A shard of binary codes: all of them are compared with every query.

There is no file: the codes are those of a column, and what else a search wants is in the codec that
they were made by. Codes only choose candidates, which `refine` scores by the vectors.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int8, Int64, UInt64
from shardrank.core.bit_codes import BitsCodec, code_values, packed
from shardrank.core.errors import IntegrityError
from shardrank.core.selection import RowSelector
from shardrank.index.list_major import capacity, rounded
from shardrank.kernels.hamming_loops import collect_codes
from shardrank.kernels.rotation_loops import along
from shardrank.kernels.search_loops import best_first

UInt8 = npt.NDArray[np.uint8]

#: Bytes of the buffers in which a block of queries gathers what it finds, and of their codes: these
#: are read for every few codes, and stay in the cache.
_BUFFER_BYTES, _QUERY_BYTES = 256 << 20, 256 << 10

#: Codes that are decoded to 8-bit numbers at once.
_DECODED = 4096


class BinaryShard:
    """Codes in memory, to be searched as `LoadedShard` is, as one list (protocol: CodedShard)."""

    def __init__(self, codec: BitsCodec, codes: Sequence[pa.Array], selector: RowSelector) -> None:
        """Codes of the shard's parts in order, FixedSizeBinary.

        Raises:
            IntegrityError: they have another length than the codec's.
        """
        self._codec, self._selector = codec, selector
        width = codec.code_bytes
        self._codes = np.concatenate(
            [np.empty((0, width), np.uint8), *(_bytes(c, width) for c in codes)]
        )

    @property
    def size(self) -> int:
        """Codes in it, with those that may not be found."""
        return len(self._codes)

    @property
    def nlist(self) -> int:
        """One, which every search goes through."""
        return 1

    def search(self, queries: Float32, nprobe: int, depth: int, live: Bool | None = None) -> Int64:
        """Positions int64[Q, depth] of the nearest codes, the lower of equals first, then -1.

        Args:
            queries: float32[Q, d] vectors.
            nprobe: 1.
            depth: at least 1.
            live: bool[positions]; others are passed over. None: all.
        """
        positions = np.arange(self.size) if live is None else np.flatnonzero(live)
        codes = self._codes if live is None else self._codes[live]
        found = self._nearest(queries, codes, depth)
        known = np.append(positions, -1)
        return known[found]

    def widening(
        self, queries: Float32, nprobes: Sequence[int], depth: int, live: Bool | None = None
    ) -> Iterator[Int64]:
        """As `search`, for each of `nprobes`, which are 1."""
        found = self.search(queries, 1, depth, live)
        return (found for _ in nprobes)

    def _nearest(self, queries: Float32, codes: UInt8, depth: int) -> Int64:
        """int64[Q, depth], which codes uint8[n, bytes] are nearest; -1: there are no more."""
        codec = self._codec
        turned = queries if codec.axes is None else along(queries, codec.axes)
        if not codec.symmetric:
            return self._by_products(rounded(turned * codec.steps), codes, depth)
        own = packed(_as_long_as_coded(turned, codec.steps), codec)
        if codec.bits == 1:
            return nearest_codes(words(own), words(codes), depth)
        return self._by_products(code_values(own, codec.dim, codec.bits), codes, depth)

    def _by_products(self, queries: Int8, codes: UInt8, depth: int) -> Int64:
        """Those whose values have the largest products with int8[Q, d]."""
        out = np.empty((len(queries), depth), np.int64)
        height = max(1, _BUFFER_BYTES // (capacity(depth) * 8))
        for begin in range(0, len(queries), height):
            block = slice(begin, begin + height)
            out[block] = self._block(queries[block], codes, depth)
        return out

    def _block(self, queries: Int8, codes: UInt8, depth: int) -> Int64:
        best = self._selector.begin(queries, depth)
        height = max(1, self._selector.cells // _DECODED)
        for begin in range(0, len(codes), _DECODED):
            rows = code_values(codes[begin : begin + _DECODED], self._codec.dim, self._codec.bits)
            positions = np.arange(begin, begin + len(rows))
            for first in range(0, len(queries), height):
                asking = np.arange(first, min(first + height, len(queries)), dtype=np.int32)
                best.add(asking, rows, positions)
        return best.sorted()


def _as_long_as_coded(queries: Float32, steps: Float32) -> Float32:
    """Queries float32[q, d] as long as centred vectors are, about, of whose components the steps
    are: where a second bit begins hangs on that.

    They are not centred themselves: q·x is q·m + q·(x - m), where only x - m has a code.
    """
    own = np.sqrt(np.square(queries).sum(axis=1, keepdims=True))
    wanted = np.sqrt(np.square(steps).sum())
    longer: Float32 = queries / np.where(own > 0, own, np.float32(1)) * wanted
    return longer


def nearest_codes(queries: UInt64, codes: UInt64, depth: int) -> Int64:
    """The codes in which the fewest bits differ: int64[q, depth], the lower of equals first, padded
    with -1.

    Args:
        queries: uint64[q, w].
        codes: uint64[n, w], n < 2^31.
        depth: at least 1.
    """
    out = np.full((len(queries), depth), -1, np.int64)
    room = capacity(depth)
    height = max(1, min(_BUFFER_BYTES // (room * 8), _QUERY_BYTES // (8 * queries.shape[1])))
    for begin in range(0, len(queries), height):
        block = queries[begin : begin + height]
        found = np.empty((len(block), room), np.int64)
        counts = np.zeros(len(block), np.int32)
        floors = np.full(len(block), np.iinfo(np.int64).min)
        collect_codes(codes, 0, block, found, counts, floors, depth)
        best_first(found, counts, out[begin : begin + height])
    return out


def words(codes: UInt8) -> UInt64:
    """Codes uint8[n, bytes] as whole words uint64[n, w], filled up with zeros."""
    count, width = codes.shape
    whole = np.zeros((count, -(-width // 8) * 8), np.uint8)
    whole[:, :width] = codes
    return whole.view(np.uint64)


def _bytes(codes: pa.Array, width: int) -> UInt8:
    """uint8[n, width] of FixedSizeBinary."""
    if codes.type != pa.binary(width):
        raise IntegrityError(
            f"A column of binary codes holds {codes.type}, where its codec makes {width} bytes.",
            "Its files do not belong together: index again.",
        )
    if not len(codes):
        return np.empty((0, width), np.uint8)
    held = np.frombuffer(codes.buffers()[1], np.uint8)
    begin = codes.offset * width
    return held[begin : begin + len(codes) * width].reshape(-1, width)
