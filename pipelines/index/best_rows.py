"""The best rows of each query on a CPU: a product that stays in the cache, and compiled loops."""

import numpy as np

from shardrank.core.arrays import Int8, Int32, Int64
from shardrank.core.protocols import Int8Product
from shardrank.index.list_major import capacity
from shardrank.kernels.search_loops import best_first, collect

#: Bytes of products that are made and looked through at once: they stay in the cache, and in
#: memory that the process has already.
_PRODUCT_BYTES = 2 << 20


class CompiledSelector:
    """Selection by a product of 8-bit matrices on this CPU (protocol: RowSelector)."""

    def __init__(self, product: Int8Product) -> None:
        self._product = product

    @property
    def cells(self) -> int:
        return _PRODUCT_BYTES // 4

    def begin(self, queries: Int8, depth: int) -> "CompiledRows":
        return CompiledRows(self._product, queries, depth)


class CompiledRows:
    """A buffer for each query, and the floor that what comes must beat (protocol: BestRows)."""

    def __init__(self, product: Int8Product, queries: Int8, depth: int) -> None:
        self._product, self._queries, self._depth = product, queries, depth
        self._hits = np.empty((len(queries), capacity(depth)), np.int64)
        self._counts = np.zeros(len(queries), np.int32)
        self._floors = np.full(len(queries), np.iinfo(np.int64).min)

    def add(self, asking: Int32, rows: Int8, positions: Int64) -> None:
        products = self._product(self._queries[asking], rows)
        held = self._hits, self._counts, self._floors
        collect(products, asking, positions, *held, self._depth)

    def sorted(self) -> Int64:
        out = np.full((len(self._hits), self._depth), -1, np.int64)
        best_first(self._hits, self._counts, out)
        return out
