"""Exact search of one part: ours against faiss, from vectors to the k best rows."""

from functools import partial

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.index.blocks import PartBlock
from shardrank.index.exact import part_topk
from shardrank.index.nearest import by_products
from shardrank.models.forward.products import int8_product
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.vectors import DIM, unit

ROWS, QUERIES, K = 16_384, 1_000, 100
#: Share of neighbours that may differ: scores that tie but for their last bits.
TOLERANCE = 1e-3
FLAT, KNN, OURS = "faiss IndexFlatIP", "faiss.knn", "shardrank"


def benchmark() -> Benchmark:
    """1,000 queries against a part of 16,384 random unit vectors, k = 100."""
    random = np.random.default_rng(0)
    vectors, queries = (
        unit(random.standard_normal((rows, DIM), dtype=np.float32)) for rows in (ROWS, QUERIES)
    )
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    contenders = [
        Contender(FLAT, lambda: index.search(queries, K)[1], None),
        Contender(KNN, partial(_knn, queries, vectors), TOLERANCE),
        Contender(OURS, partial(_ours, queries, part_of(vectors)), TOLERANCE),
    ]
    duels = [Duel(OURS, FLAT, floor=1.5, goal=3), Duel(OURS, KNN, floor=1.5, goal=3)]
    return Benchmark("exact search", "queries", QUERIES, contenders, duels, missed)


def missed(wanted: Int64, found: Int64) -> float:
    """The share of the wanted neighbours that were not found."""
    both = zip(wanted, found, strict=True)
    return 1.0 - float(np.mean([np.isin(mine, theirs).mean() for mine, theirs in both]))


def _knn(queries: Float32, vectors: Float32) -> Int64:
    found: Int64 = faiss.knn(queries, vectors, K, faiss.METRIC_INNER_PRODUCT)[1]
    return found


def _ours(queries: Float32, part: PartBlock) -> npt.NDArray[np.int32]:
    found = part_topk(queries, part, K, by_products(int8_product))
    row: npt.NDArray[np.int32] = found["row"].to_numpy()
    return row.reshape(len(queries), K)


def part_of(vectors: Float32) -> PartBlock:
    """One passage a document, under ids of like length."""
    ids = pa.array([f"document-{row:06d}" for row in range(len(vectors))])
    ok = np.ones(len(vectors), dtype=np.bool_)
    return PartBlock(0, ids, np.zeros(len(vectors), np.int32), vectors, ok)
