"""Building an IVF-PQ index, training included: ours against a plain faiss script, on all cores.

The script is what faiss's wiki gives: an index_factory string with OPQ, trained on as many vectors
as ours, filled with all. Both end with the codes' recall, which must not be worse for ours.
"""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import faiss
import numpy as np

from pipelines.core.protocols import Float32, Int64
from pipelines.core.settings import IndexSettings
from pipelines.core.sizing import IndexPlan, plan_index
from pipelines.index.codec import train_codec
from pipelines.index.shard import build_shard
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.vectors import DIM, collection

ROWS, JUDGED, K, NPROBE = 300_000, 1_000, 100, 64
#: Recall that may be lost: two k-means from two seeds differ by as much.
TOLERANCE = 0.01
PEER, OURS = "faiss script", "shardrank"


@dataclass(frozen=True, eq=False)
class Task:
    """What is built, and the questions that it is judged by."""

    stored: Float32
    queries: Float32
    nearest: Int64
    plan: IndexPlan

    @property
    def sample(self) -> Float32:
        """The vectors come in no order."""
        return self.stored[: self.plan.train_rows]

    def recall(self, index: Any) -> float:
        """Share of the 100 nearest that the codes alone find at 64 lists."""
        faiss.extract_index_ivf(index).nprobe = NPROBE
        _, found = index.search(self.queries, K)
        both = zip(self.nearest, found, strict=True)
        return float(np.mean([np.isin(wanted, row).mean() for wanted, row in both]))


def benchmark() -> Benchmark:
    """300,000 vectors at 48 bytes, with the plan that our settings give."""
    threads = os.cpu_count() or 1
    faiss.omp_set_num_threads(threads)
    made = collection(ROWS, JUDGED)
    _, nearest = faiss.knn(made.queries, made.stored, K, faiss.METRIC_INNER_PRODUCT)
    plan = plan_index(IndexSettings(kind="ivfpq"), ROWS, DIM)
    task = Task(made.stored, made.queries, nearest, plan)
    contenders = [
        Contender(PEER, partial(plain, task), None),
        Contender(OURS, partial(ours, task), TOLERANCE),
    ]
    duels = [Duel(OURS, PEER, floor=1, goal=1.5)]
    return Benchmark("build", "vectors", ROWS, contenders, duels, lost, threads)


def plain(task: Task) -> float:
    """The recall of what the script builds."""
    name = f"OPQ{task.plan.pq_m},IVF{task.plan.nlist},PQ{task.plan.pq_m}"
    index = faiss.index_factory(DIM, name, faiss.METRIC_INNER_PRODUCT)
    index.train(task.sample)
    index.add(task.stored)
    return task.recall(index)


def ours(task: Task) -> float:
    """The recall of what the train and build stages write."""
    codec = train_codec(task.sample, task.plan)
    shard = build_shard(codec, [(np.arange(ROWS), task.stored)], "cpu")
    return task.recall(faiss.deserialize_index(np.frombuffer(shard, np.uint8)))


def lost(wanted: float, found: float) -> float:
    """Recall that is missing."""
    return max(0.0, wanted - found)
