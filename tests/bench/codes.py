"""RaBitQ's codes: searched beside faiss's, and how much they find beside PQ's at equal bytes.

python -m tests.bench.codes [--vectors FILE.npy] [--rows N] [--dim D] prints the table of what is
found, for the vectors of a file, float32[n, d] at length 1 in no order, whose first 500 are the
queries; else for the made ones of `vectors.py`.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from shardrank.core.arrays import Float32
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.codec import code_error, train_codec
from shardrank.index.shard import LoadedShard, build_shard
from shardrank.models.forward.products import int8_product
from shardrank.version.sizing import CodecPlan
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.ivf import Judge, Search, list_major, threads
from tests.bench.vectors import DIM, Collection, collection

ROWS, QUERIES, JUDGED, K = 50_000, 4_096, 500, 100
NLIST, NPROBE, TRAIN = 256, 32, 16_384
BITS, RABITQ = 2, CodecPlan("ivfrabitq", NLIST, DIM, 2, False, TRAIN, 0)
OURS, PEER, BEST = "shardrank RaBitQ", "faiss IndexIVFRaBitQ", "faiss RaBitQ FastScan"


def benchmark() -> Benchmark:
    """4,096 queries, 50,000 vectors, 32 of 256 lists, 2 bits a component, k = 100. faiss's indexes
    have a random rotation before them, as ours has."""
    faiss.omp_set_num_threads(threads())
    made = collection(ROWS, QUERIES)
    _, nearest = faiss.knn(made.queries[:JUDGED], made.stored, K, faiss.METRIC_INNER_PRODUCT)
    judge = Judge(nearest)
    ways = {
        PEER: _faiss(made, f"RR{DIM},IVF{NLIST},RaBitQ{BITS}"),
        BEST: _faiss(made, f"RR{DIM},IVF{NLIST},RaBitQfs{BITS}"),
        OURS: list_major(_shard(made, RABITQ), NPROBE),
    }
    for name, way in ways.items():
        print(f"{name}: Recall@{K} {judge.recall(way(made.queries[:JUDGED])):.3f} by codes alone")
    contenders = [Contender(name, partial(way, made.queries), None) for name, way in ways.items()]
    duels = [Duel(OURS, PEER, floor=2, goal=4), Duel(OURS, BEST, floor=1, goal=2)]
    name = "search, RaBitQ codes"
    return Benchmark(name, "queries", QUERIES, contenders, duels, judge.lost, threads())


def _faiss(made: Collection, name: str) -> Search:
    index: Any = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    index.train(made.stored[:TRAIN])
    index.add(made.stored)
    faiss.extract_index_ivf(index).nprobe = NPROBE

    def search(queries: Float32) -> Any:
        faiss.omp_set_num_threads(threads())
        return index.search(queries, K)[1]

    return search


def _shard(made: Collection, plan: CodecPlan) -> bytes:
    codec = train_codec(made.stored[:TRAIN], plan)  # the vectors come in no order
    return build_shard(codec, [(np.arange(len(made.stored)), made.stored)])


@dataclass(frozen=True)
class Row:
    """What a codec of some bytes finds, and CPU seconds that it takes."""

    name: str
    bytes: int
    error: float
    found: tuple[float, ...]
    train_s: float
    build_s: float
    search_s: float


def plans(dim: int, nlist: int, rows: int) -> Iterator[tuple[str, CodecPlan]]:
    """RaBitQ's, and PQ's of as many bits for each component, with and without a rotation."""
    for bits in (1, 2, 4):
        scalar = CodecPlan("ivfrabitq", nlist, dim, bits, False, rows, 0)
        yield f"RaBitQ, {bits} bits", scalar
        for opq in (False, True):
            books = dim * bits // 8
            plan = replace(scalar, kind="ivfpq", pq_m=books, pq_bits=8, opq=opq)
            yield f"PQ{books}x8{', OPQ' if opq else ''}", plan
    yield "SQ8", CodecPlan("ivfsq8", nlist, dim, 8, False, rows, 0)


def measured(name: str, plan: CodecPlan, made: Collection, judge: Judge) -> Row:
    """On one thread; each of the 100 nearest is looked for among 100, 200 and 400 candidates."""
    began = time.process_time()
    codec = train_codec(made.stored[: plan.train_rows], plan)
    trained = time.process_time()
    shard = build_shard(codec, [(np.arange(len(made.stored)), made.stored)])
    built = time.process_time()
    loaded = LoadedShard.load(shard, CompiledSelector(int8_product))
    loaded.search(made.queries[:1], NPROBE, K)
    opened = time.process_time()
    found = loaded.search(made.queries, NPROBE, K)
    searched = time.process_time() - opened
    deeper = (loaded.search(made.queries, NPROBE, depth) for depth in (2 * K, 4 * K))
    recalls = tuple(judge.recall(each) for each in (found, *deeper))
    error = code_error(codec, made.stored[:4096])
    return Row(name, plan.code_bytes, error, recalls, trained - began, built - trained, searched)


def _vectors(file: Path | None, rows: int) -> Collection:
    if file is None:
        return collection(rows, JUDGED)
    held = np.load(file)
    return Collection(held[JUDGED : JUDGED + rows], held[:JUDGED])


def main() -> None:
    """Print the table, a line as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.codes", description=__doc__)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--nlist", type=int, default=256)
    parser.add_argument("--train", type=int, default=16_384)
    parser.add_argument("--dim", type=int, help="codes are of so many components, the first")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    made = _vectors(arguments.vectors, arguments.rows)
    stored = made.stored
    nearest = faiss.knn(made.queries, stored, K, faiss.METRIC_INNER_PRODUCT)[1]
    print(f"{len(stored):,} × {stored.shape[1]}, {NPROBE} of {arguments.nlist} lists")
    print("| codes | bytes | error | @100 | @200 | @400 | train s | build s | search s |")
    print("|---|---|---|---|---|---|---|---|---|")
    dim, rows = arguments.dim or stored.shape[1], min(len(stored), arguments.train)
    for name, plan in plans(dim, arguments.nlist, rows):
        plan = replace(plan, dim=dim, unit=True) if arguments.dim else plan
        print(_line(measured(name, plan, made, Judge(nearest))), flush=True)


def _line(row: Row) -> str:
    shares = [f"{share:.3f}" for share in row.found]
    seconds = [f"{each:.2f}" for each in (row.train_s, row.build_s, row.search_s)]
    cells = [row.name, str(row.bytes), f"{row.error:.4f}", *shares, *seconds]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
