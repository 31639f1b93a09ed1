"""Batch search against graphs: hnswlib, voyager and usearch, with every thread.

Everybody finds at least `LEAST` of the 100 nearest, at the cheapest of its efforts that does. What
is timed is the work of a night: vectors are made an index, and then all queries are answered; and
the answers alone. A graph has its package's own settings, and in a second contender half of its
links and a quarter of its effort, with which it is built faster, where it still finds enough.

Packages that are absent are not measured; of hnswlib no wheel is published: `pip install hnswlib`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import faiss
import numpy as np

from shardrank.core.arrays import Float32
from shardrank.index.codec import train_codec
from shardrank.index.shard import build_shard
from shardrank.version.sizing import CodecPlan
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.ivf import Judge, Search, cheapest, list_major, threads
from tests.bench.vectors import DIM, Collection, collection

QUERIES, JUDGED, K, LEAST = 16_384, 1_000, 100, 0.95
NLIST, TRAIN, NPROBES = 512, 40_000, (8, 12, 16, 24, 32, 48, 64, 96, 128)
EFFORTS = (100, 150, 200, 300, 400, 600)
PLAN = CodecPlan("ivfsq8", NLIST, pq_m=DIM, pq_bits=8, opq=False, train_rows=TRAIN, seed=0)
OURS = "shardrank"

Build = Callable[[Float32], Callable[[int, Float32], Any]]


@dataclass(frozen=True)
class Way:
    """How an index is made of vectors, and searched with an effort.

    Attributes:
        build: makes a function of an effort and queries, which gives int[queries, K] rows.
        efforts: from the cheapest on.
    """

    name: str
    build: Build
    efforts: Sequence[int]


def benchmark(rows: int, whole: bool) -> Benchmark:
    """`rows` vectors; the index made each time (`whole`), or once."""
    faiss.omp_set_num_threads(threads())
    made = collection(rows, QUERIES)
    _, nearest = faiss.knn(made.queries[:JUDGED], made.stored, K, faiss.METRIC_INNER_PRODUCT)
    judge = Judge(nearest)
    found = [*_contenders(made, judge, whole)]
    duels = [Duel(OURS, each.name, floor=2, goal=4) for each in found[1:]]
    name = f"{'build and search' if whole else 'search'}, {rows:,} vectors, beside graphs"
    return Benchmark(name, "queries", QUERIES, found, duels, judge.lost, threads())


def _contenders(made: Collection, judge: Judge, whole: bool) -> Iterator[Contender]:
    for way in ways():
        searches = way.build(made.stored)
        tried: list[Search] = [partial(searches, effort) for effort in way.efforts]
        if judge.recall(tried[-1](made.queries[:JUDGED])) < LEAST:
            print(f"{way.name} is not measured: it finds less than {LEAST}.")
            continue
        best = cheapest(tried, made, judge, LEAST)
        effort = way.efforts[tried.index(best)]
        run = partial(_whole, way.build, effort, made) if whole else partial(best, made.queries)
        yield Contender(way.name, run, None)


def _whole(build: Build, effort: int, made: Collection) -> Any:
    return build(made.stored)(effort, made.queries)


def ways() -> Iterator[Way]:
    """Ours first, then those that are installed."""
    yield Way(OURS, _ours, NPROBES)
    peers: Sequence[tuple[str, Callable[[int, int], Build], int, int]] = [
        ("hnswlib", _hnswlib, 16, 200),
        ("voyager", _voyager, 12, 200),
        ("usearch", _usearch, 16, 128),
    ]
    for name, build, links, effort in peers:
        if not find_spec(name):
            print(f"{name} is not measured: it is absent.")
            continue
        yield Way(name, build(links, effort), EFFORTS)
        yield Way(f"{name}, built faster", build(links // 2, effort // 4), EFFORTS)


def _ours(stored: Float32) -> Callable[[int, Float32], Any]:
    codec = train_codec(stored[:TRAIN], PLAN)  # the vectors come in no order
    shard = build_shard(codec, [(np.arange(len(stored)), stored)])
    made: dict[int, Search] = {}

    def search(nprobe: int, queries: Float32) -> Any:
        return made.setdefault(nprobe, list_major(shard, nprobe))(queries)

    return search


def _hnswlib(links: int, effort: int) -> Build:
    import hnswlib

    def build(stored: Float32) -> Callable[[int, Float32], Any]:
        index = hnswlib.Index("ip", DIM)
        index.init_index(len(stored), M=links, ef_construction=effort)
        index.set_num_threads(threads())
        index.add_items(stored)

        def search(ef: int, queries: Float32) -> Any:
            index.set_ef(ef)
            return index.knn_query(queries, K)[0].astype(np.int64)

        return search

    return build


def _voyager(links: int, effort: int) -> Build:
    import voyager

    def build(stored: Float32) -> Callable[[int, Float32], Any]:
        index = voyager.Index(voyager.Space.InnerProduct, DIM, links, effort)
        index.add_items(stored, num_threads=threads())

        def search(ef: int, queries: Float32) -> Any:
            found, _ = index.query(queries, K, num_threads=threads(), query_ef=ef)
            return found.astype(np.int64)

        return search

    return build


def _usearch(links: int, effort: int) -> Build:
    from usearch.index import Index

    def build(stored: Float32) -> Callable[[int, Float32], Any]:
        index = Index(ndim=DIM, metric="ip", connectivity=links, expansion_add=effort)
        index.add(np.arange(len(stored)), stored, threads=threads())

        def search(ef: int, queries: Float32) -> Any:
            index.expansion_search = ef
            return index.search(queries, K, threads=threads()).keys.astype(np.int64)

        return search

    return build
