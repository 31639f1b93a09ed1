"""Batch search of an IVF index: ours against faiss on the same vectors, with every thread.

`same codes` searches one and the same index with one nprobe. `any layout` lets everybody choose:
each contender takes the cheapest of its settings that finds at least as many of the 100 nearest
as IndexIVFPQ at its setting.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from shardrank.core.arrays import Float32, Int64
from shardrank.core.protocols import Int8Product
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.codec import train_codec
from shardrank.index.shard import LoadedShard, build_shard
from shardrank.models.forward.products import int8_product
from shardrank.version.sizing import CodecPlan
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.vectors import DIM, Collection, collection

ROWS, QUERIES, K = 300_000, 16_384, 100
NLIST, NPROBE, TRAIN, JUDGED = 1_024, 32, 80_000, 1_000
PQ = CodecPlan("ivfpq", NLIST, pq_m=48, pq_bits=8, opq=False, train_rows=TRAIN, seed=0)
SQ8 = CodecPlan("ivfsq8", NLIST, pq_m=DIM, pq_bits=8, opq=False, train_rows=TRAIN, seed=0)
FAST_SCAN = f"IVF{NLIST},PQ96x4fs,Refine(SQ8)"
#: Recall that rounding may cost, where codes and lists are the same.
TOLERANCE = 2e-3
PEER, BEST, OURS = "faiss IndexIVFPQ", "faiss FastScan + refine", "shardrank"

Search = Callable[[Float32], Int64]

#: faiss's stubs do not know what these take.
_IVF_EFFORT: Any = faiss.SearchParametersIVF
_REFINE_EFFORT: Any = faiss.IndexRefineSearchParameters


@dataclass(frozen=True, eq=False)
class Judge:
    """How many of the exact 100 nearest are found; int64[JUDGED, 100] are those."""

    nearest: Int64

    def recall(self, found: Int64) -> float:
        """Of the first JUDGED queries."""
        both = zip(self.nearest, found, strict=False)
        return float(np.mean([np.isin(wanted, row).mean() for wanted, row in both]))

    def lost(self, wanted: Int64, found: Int64) -> float:
        """How far the recall of `found` lies below that of `wanted`."""
        return max(0.0, self.recall(wanted) - self.recall(found))


def same_codes() -> Benchmark:
    """16,384 queries, 300,000 vectors, 32 of 1,024 lists, 48 bytes a vector, k = 100."""
    made, judge = prepared()
    shard = shard_of(made, PQ)
    contenders = [
        Contender(PEER, partial(faiss_pq(shard), made.queries), None),
        Contender(OURS, partial(list_major(shard, NPROBE), made.queries), TOLERANCE),
    ]
    duels = [Duel(OURS, PEER, floor=1.5, goal=4)]
    name = "search, same codes"
    return Benchmark(name, "queries", QUERIES, contenders, duels, judge.lost, threads())


def any_layout() -> Benchmark:
    """The same vectors and queries; whatever finds at least as much as IndexIVFPQ."""
    made, judge = prepared()
    pq = faiss_pq(shard_of(made, PQ))
    least = judge.recall(pq(made.queries[:JUDGED]))
    sq8 = shard_of(made, SQ8)
    ours = [list_major(sq8, nprobe) for nprobe in range(6, 33, 2)]
    contenders = [
        Contender(PEER, partial(pq, made.queries), None),
        Contender(BEST, partial(cheapest(_fast_scan(made), made, judge, least), made.queries), 0),
        Contender(OURS, partial(cheapest(ours, made, judge, least), made.queries), 0),
    ]
    duels = [Duel(OURS, PEER, floor=4, goal=10), Duel(OURS, BEST, floor=2, goal=4)]
    name = "search, any layout"
    return Benchmark(name, "queries", QUERIES, contenders, duels, judge.lost, threads())


def prepared() -> tuple[Collection, Judge]:
    faiss.omp_set_num_threads(threads())
    made = collection(ROWS, QUERIES)
    _, nearest = faiss.knn(made.queries[:JUDGED], made.stored, K, faiss.METRIC_INNER_PRODUCT)
    return made, Judge(nearest)


def shard_of(made: Collection, plan: CodecPlan) -> bytes:
    codec = train_codec(made.stored[:TRAIN], plan)  # the vectors come in no order
    return build_shard(codec, [(np.arange(ROWS), made.stored)])


def faiss_pq(shard: bytes) -> Search:
    index: Any = faiss.deserialize_index(np.frombuffer(shard, np.uint8))
    index.nprobe = NPROBE
    return partial(_faiss, index)


def _fast_scan(made: Collection) -> list[Search]:
    """Its settings: lists probed, and candidates refined for each that is wanted."""
    index: Any = faiss.index_factory(DIM, FAST_SCAN, faiss.METRIC_INNER_PRODUCT)
    index.train(made.stored[:TRAIN])
    index.add(made.stored)

    def search(nprobe: int, factor: float, queries: Float32) -> Int64:
        inner = _IVF_EFFORT(nprobe=nprobe)
        both = _REFINE_EFFORT(k_factor=factor, base_index_params=inner)
        found: Int64 = index.search(queries, K, params=both)[1]
        return found

    grid = [(nprobe, factor) for nprobe in (8, 12, 16, 24, 32) for factor in (1, 1.5, 2, 3, 4)]
    return [partial(search, *point) for point in grid]


def _faiss(index: Any, queries: Float32) -> Int64:
    faiss.omp_set_num_threads(threads())
    found: Int64 = index.search(queries, K)[1]
    return found


def list_major(shard: bytes, nprobe: int, product: Int8Product = int8_product) -> Search:
    """The queries in as many shares as there are threads: actors have a shard each instead."""
    loaded = LoadedShard.load(shard, CompiledSelector(product))

    def share(queries: Float32) -> Int64:
        faiss.omp_set_num_threads(1)  # of this thread
        return loaded.search(queries, nprobe, K)

    def search(queries: Float32) -> Int64:
        shares = np.array_split(queries, threads())
        with threadpool_limits(1), ThreadPoolExecutor(threads()) as pool:
            return np.concatenate(list(pool.map(share, shares)))

    return search


def cheapest(ways: Sequence[Search], made: Collection, judge: Judge, least: float) -> Search:
    """The fastest of those that find enough, each tried on the judged queries, then timed."""
    enough = [way for way in ways if judge.recall(way(made.queries[:JUDGED])) >= least]
    return min(enough, key=lambda way: _seconds(way, made.queries))


def _seconds(way: Search, queries: Float32) -> float:
    began = perf_counter()
    way(queries)
    return perf_counter() - began


def threads() -> int:
    return os.cpu_count() or 1
