"""Search over all of many binary codes: ours against faiss's, as it is and at its best."""

from collections.abc import Callable
from functools import partial
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int64, UInt64
from shardrank.index.binary import nearest_codes, words
from tests.bench.harness import Benchmark, Contender, Duel, fastest
from tests.bench.vectors import DIM, Collection, collection

UInt8 = npt.NDArray[np.uint8]

ROWS, QUERIES, K = 300_000, 4_096, 100
#: Of the rounds in which faiss's best settings are chosen.
_TRIED = 256
DEFAULT, BEST, OURS = "faiss IndexBinaryFlat", "faiss, best settings", "shardrank"


def benchmark(bits: int) -> Benchmark:
    """4,096 queries against 300,000 codes, k = 100, on one thread: signs of clustered vectors along
    their components, or along random directions."""
    faiss.omp_set_num_threads(1)
    codes, queries = _codes(collection(ROWS, QUERIES), bits)
    best = _best(codes, queries[:_TRIED])
    contenders = [
        Contender(DEFAULT, partial(_faiss, _index(codes), queries), None),
        Contender(BEST, partial(_faiss, best, queries), 0.0),
        Contender(OURS, partial(_ours, words(queries), words(codes)), 0.0),
    ]
    duels = [Duel(OURS, DEFAULT, floor=3, goal=5), Duel(OURS, BEST, floor=3, goal=5)]
    name, unit = f"binary codes of {bits} bits", "queries"
    return Benchmark(name, unit, QUERIES, contenders, duels, _farther(codes, queries))


def _codes(given: Collection, bits: int) -> tuple[UInt8, UInt8]:
    """uint8[rows, bytes] and uint8[queries, bytes]."""
    turn = np.random.default_rng(0).standard_normal((DIM, bits), dtype=np.float32)

    def signs(vectors: Float32) -> UInt8:
        return np.packbits((vectors if bits == DIM else vectors @ turn) > 0, axis=1)

    return signs(given.stored), signs(given.queries)


def _index(codes: UInt8, use_heap: bool = True, batch: int = 32) -> Any:
    index: Any = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    index.use_heap, index.query_batch_size = use_heap, batch
    return index


def _best(codes: UInt8, queries: UInt8) -> Any:
    """The settings that are fastest for some queries."""
    tried = [_index(codes, *setting) for setting in ((True, 32), (True, 8192), (False, 8192))]
    runs = [
        Contender(str(n), partial(_faiss, index, queries), None) for n, index in enumerate(tried)
    ]
    return tried[int(fastest(runs).name)]


def _faiss(index: Any, queries: UInt8) -> Int64:
    found: Int64 = index.search(queries, K)[1]
    return found


def _ours(queries: UInt64, codes: UInt64) -> Int64:
    return nearest_codes(queries, codes, K)


def _farther(codes: UInt8, queries: UInt8) -> Callable[[Int64, Int64], float]:
    """The largest difference of two answers' distances; which of equal ones is its own affair."""

    def distances(found: Int64) -> Any:
        return np.stack(
            [
                np.bitwise_count(codes[mine] ^ query).sum(axis=1, dtype=np.int64)
                for mine, query in zip(found, queries, strict=True)
            ]
        )

    return lambda wanted, found: float(np.abs(distances(wanted) - distances(found)).max())
