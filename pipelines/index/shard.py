"""A shard: the codec filled with the vectors of its parts, and searching it.

Positions count the shard's rows over its parts in order. Scores never leave a shard: those of PQ
codes only choose candidates, which `refine` scores.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import faiss
import numpy as np

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.errors import InputError
from shardrank.core.selection import RowSelector
from shardrank.index.codec import made_by_faiss, transformed
from shardrank.index.list_major import ListSearch, StoredLists
from shardrank.index.lists import FaissLists
from shardrank.index.rabitq_lists import RabitqLists
from shardrank.kernels.k_means import nearest_centroids


def use_threads(count: int) -> None:
    """How many threads faiss uses in this process, from now on."""
    faiss.omp_set_num_threads(count)


def build_shard(codec: bytes, blocks: Iterable[tuple[Int64, Float32]]) -> bytes:
    """The codec with vectors added; the same codec and blocks give the same bytes.

    Args:
        codec: from `train_codec`, checked against its sha256 by the caller.
        blocks: (positions int64[n], vectors float32[n, d]), only of live rows.

    Raises:
        InputError: a vector is not finite; faiss would count it and never find it.
    """
    if not made_by_faiss(codec):
        return RabitqLists.of(RabitqLists.load(codec).rabitq, _finite(blocks)).to_bytes()
    index = _load(codec)
    # As `add_with_ids` does it, but for the choice of lists, which takes faiss four times as long.
    ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(index))
    pointer: Any = faiss.swig_ptr
    centroids = ivf.quantizer.reconstruct_n(0, ivf.nlist)
    for positions, vectors in _finite(blocks):
        seen, ids = transformed(index, vectors), np.ascontiguousarray(positions, np.int64)
        lists = nearest_centroids(seen, centroids)
        ivf.add_core(len(seen), *map(pointer, (seen, ids, lists)))
    index.ntotal = ivf.ntotal  # of what turns vectors before they are added
    return bytes(faiss.serialize_index(index))


def _finite(blocks: Iterable[tuple[Int64, Float32]]) -> Iterator[tuple[Int64, Float32]]:
    """The blocks, which are checked on the way."""
    for positions, vectors in blocks:
        if not np.isfinite(vectors).all():
            raise InputError(
                f"Vectors at positions {positions[0]} to {positions[-1]} are not all finite.",
                "Add only live rows.",
            )
        yield positions, vectors


def shard_size(data: bytes) -> int:
    """Vectors in the bytes of `build_shard`, after their sha256 was checked."""
    return _lists(data).size


class LoadedShard:
    """A loaded shard (or codec, which is an empty one)."""

    def __init__(self, lists: StoredLists, selector: RowSelector) -> None:
        self._stored = lists
        self._lists = ListSearch(lists, selector)

    @classmethod
    def load(cls, data: bytes, selector: RowSelector) -> "LoadedShard":
        """From the bytes of `build_shard`. faiss finds no corruption: check the sha256 first.

        Args:
            data: the bytes.
            selector: multiplies matrices of 8-bit numbers and keeps the best, which is what a
                search mostly does.
        """
        return cls(_lists(data), selector)

    @property
    def size(self) -> int:
        """Vectors in it."""
        return self._stored.size

    @property
    def nlist(self) -> int:
        """Lists in it."""
        return len(self._stored.centroids)

    def search(self, queries: Float32, nprobe: int, depth: int, live: Bool | None = None) -> Int64:
        """Positions int64[Q, depth] of candidates, best first by their codes, padded with -1.

        Args:
            queries: float32[Q, d].
            nprobe: lists scanned for each query; more than `nlist` means all.
            depth: candidates for each query, at least 1.
            live: bool[positions]; others are passed over and take no candidate's place. None: all.
        """
        return self._lists.search(queries, min(nprobe, self.nlist), depth, live)

    def widening(
        self, queries: Float32, nprobes: Sequence[int], depth: int, live: Bool | None = None
    ) -> Iterator[Int64]:
        """As `search` by each of `nprobes`, ascending and no more than `nlist`, at the cost of the
        last one."""
        return self._lists.widening(queries, nprobes, depth, live)


def _lists(data: bytes) -> StoredLists:
    return FaissLists(_load(data)) if made_by_faiss(data) else RabitqLists.load(data)


def _load(data: bytes) -> faiss.Index:
    return faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
