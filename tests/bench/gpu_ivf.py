"""Batch search on a GPU: list-major products against brute force, and against faiss's IVF-PQ.

Each of ours probes as few lists as reach the recall that is asked for: a fixed one against brute
force, and faiss's own against GpuIndexIVFPQ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from shardrank.core.arrays import Float32, Int64
from tests.bench.gpu_search import Lists, brute_force, build, search
from tests.bench.gpu_setup import Setup
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.vectors import Collection, collection

K = 100
#: Recall@100 that is asked for against brute force.
TARGET = 0.95
#: Recall that the order of sums may cost between the judged queries alone and among all.
TOLERANCE = 2e-3
#: faiss's setting, as in ivf.py.
NPROBE, PQ_BYTES = 32, 48
BRUTE, PEER = "brute force bf16", "faiss GpuIndexIVFPQ"
OURS = {"shardrank bf16": torch.bfloat16, "shardrank int8": torch.int8}

Search = Callable[[Float32], Int64]


@dataclass(frozen=True)
class Scale:
    """How many vectors are searched, in how many lists, and how many queries are judged."""

    rows: int
    queries: int
    nlist: int
    judged: int


FULL = Scale(rows=1_000_000, queries=131_072, nlist=2_048, judged=1_000)
SMALL = Scale(rows=2_000, queries=200, nlist=16, judged=50)


@dataclass(frozen=True, eq=False)
class Field:
    """Vectors, the exact nearest of the first queries (int64[judged, 100]), and our lists."""

    made: Collection
    nearest: Int64
    lists: dict[str, Lists]

    @property
    def judged(self) -> Float32:
        return self.made.queries[: len(self.nearest)]

    def recall(self, found: Int64) -> float:
        """Of the judged queries."""
        both = zip(self.nearest, found, strict=False)
        return float(np.mean([np.isin(wanted, row).mean() for wanted, row in both]))


def make_field(setup: Setup) -> Field:
    """Vectors and lists, which both benchmarks share."""
    scale = SMALL if setup.small else FULL
    torch.manual_seed(0)
    made = collection(scale.rows, scale.queries)
    exact = torch.from_numpy(made.stored).to(setup.device)
    nearest = brute_force(exact, made.queries[: scale.judged], K)
    lists = {
        name: build(made.stored, scale.nlist, dtype, setup.device) for name, dtype in OURS.items()
    }
    return Field(made, nearest, lists)


def against_brute_force(field: Field, setup: Setup) -> Benchmark:
    """At a recall of TARGET."""
    rows = torch.from_numpy(field.made.stored).to(setup.device, torch.bfloat16)
    peer = Contender(BRUTE, partial(brute_force, rows, field.made.queries, K), TOLERANCE)
    return _benchmark(f"search, recall {TARGET}", field, TARGET, peer, goal=1)


def against_faiss(field: Field, setup: Setup) -> Benchmark | None:
    """At faiss's own recall; none, and a reason, where faiss has no GPU."""
    found: list[Search] = []
    if not setup.attempt(PEER, lambda: found.append(_faiss(field, setup))):
        return None
    target = field.recall(found[0](field.judged))
    peer = Contender(PEER, partial(found[0], field.made.queries), None)
    return _benchmark(f"search, recall {target:.3f}", field, target, peer, goal=10)


def least_nprobe(field: Field, lists: Lists, target: float) -> int:
    """The fewest lists, in steps of a fifth, that reach the recall; else all."""
    most = len(lists.sizes)
    steps = sorted({min(most, round(2 ** (i / 4))) for i in range(4 * most.bit_length())})
    reach = (n for n in steps if field.recall(search(lists, field.judged, n, K)) >= target)
    return next(reach, most)


def _benchmark(name: str, field: Field, target: float, peer: Contender, goal: float) -> Benchmark:
    queries = field.made.queries
    ours = [_ours(field, kind, target) for kind in field.lists]
    duels = [Duel(mine.name, peer.name, floor=1, goal=goal) for mine in ours]

    def lost(_: Int64, found: Int64) -> float:
        return max(0.0, target - field.recall(found))

    return Benchmark(name, "queries", len(queries), [peer, *ours], duels, lost)


def _ours(field: Field, kind: str, target: float) -> Contender:
    lists = field.lists[kind]
    nprobe = least_nprobe(field, lists, target)
    run = partial(search, lists, field.made.queries, nprobe, K)
    return Contender(f"{kind}, nprobe {nprobe}", run, TOLERANCE)


def _faiss(field: Field, setup: Setup) -> Search:
    """The peer on the same vectors, with float16 tables, its faster setting. Raises where none."""
    import faiss

    if not setup.cuda or not hasattr(faiss, "GpuIndexIVFPQ") or not faiss.get_num_gpus():
        raise RuntimeError("this faiss has no GPU")
    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexIVFPQConfig()
    config.useFloat16LookupTables = True
    nlist, width = len(next(iter(field.lists.values())).sizes), field.made.stored.shape[1]
    metric = faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.GpuIndexIVFPQ(resources, width, nlist, PQ_BYTES, 8, metric, config)
    index.train(field.made.stored[: 64 * nlist])
    index.add(field.made.stored)
    index.nprobe = NPROBE

    def run(queries: Float32) -> Int64:
        found: Int64 = index.search(queries, K)[1]
        return found

    return run
