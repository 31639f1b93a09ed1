"""Building an IVF-PQ index, training included: ours against faiss scripts and autofaiss, on all
cores.

A script is what faiss's wiki gives: an index_factory string, trained on as many vectors as ours,
filled with all. "PQ48" trains a polysemous order too, for a kind of search that nobody asked for;
"PQ48np" does not. An answer is the index; what its codes alone find must not be less for ours. The
vectors are all-MiniLM-L6-v2's, of runs of words: of made-up clusters, codes of residuals, which are
faiss's default, find more than they do of these.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import faiss
import numpy as np

from shardrank.core.arrays import Float32, Int64
from shardrank.core.index_settings import IndexSettings
from shardrank.core.model_settings import EncoderSettings
from shardrank.index.codec import train_codec
from shardrank.index.shard import build_shard
from shardrank.models.encoders.dense import load_encoder
from shardrank.version.sizing import CodecPlan, plan_codec
from tests.bench.autofaiss_peer import PYTHON, Autofaiss
from tests.bench.flow import short_texts
from tests.bench.harness import Benchmark, Contender, Duel

ROWS, JUDGED, WORDS, K = 30_000, 1_000, 8, 100
NLIST, NPROBE, TRAIN = 256, 32, 10_240
#: Recall that may be lost: two k-means from two seeds differ by as much.
TOLERANCE = 0.01
OURS = "shardrank"


@dataclass(frozen=True, eq=False)
class Task:
    """What is built, and the questions that it is judged by.

    The vectors come in no order, so that the first ones are a sample.
    """

    stored: Float32
    queries: Float32
    nearest: Int64
    plan: CodecPlan

    def recall(self, index: faiss.Index) -> float:
        """Share of the 100 nearest that the codes alone find at 32 lists."""
        ivf = faiss.try_extract_index_ivf(index)
        if ivf is not None:
            ivf.nprobe = NPROBE
        _, found = index.search(self.queries, K)
        both = zip(self.nearest, found, strict=True)
        return float(np.mean([np.isin(wanted, row).mean() for wanted, row in both]))

    def lost(self, wanted: faiss.Index, found: faiss.Index) -> float:
        """Recall that is missing."""
        return max(0.0, self.recall(wanted) - self.recall(found))


def plain() -> Benchmark:
    """30,000 vectors at 48 bytes, without a rotation."""
    task = _task(opq=False)
    contenders = [
        Contender("faiss PQ48", partial(_script, task, f"IVF{NLIST},PQ48"), None),
        Contender("faiss PQ48np", partial(_script, task, f"IVF{NLIST},PQ48np"), TOLERANCE),
        Contender(OURS, partial(_ours, task), TOLERANCE),
    ]
    duels = [
        Duel(OURS, "faiss PQ48", floor=1, goal=1.5),
        Duel(OURS, "faiss PQ48np", floor=1, goal=1.5),
    ]
    return Benchmark(
        "build, plain codes", "vectors", ROWS, contenders, duels, task.lost, _threads()
    )


def rotated(folder: Path) -> Benchmark:
    """The same with OPQ, which is our default at this size; autofaiss is told the same index."""
    task = _task(opq=True)
    script = partial(_script, task, f"OPQ48,IVF{NLIST},PQ48np")
    contenders = [
        Contender("faiss OPQ48", script, None),
        Contender(OURS, partial(_ours, task), TOLERANCE),
    ]
    duels = [Duel(OURS, "faiss OPQ48", floor=1, goal=1.5)]
    if PYTHON.exists():
        peer = Autofaiss(task.stored, folder)
        build = partial(peer.build, index_key=f"OPQ48_384,IVF{NLIST},PQ48x8")
        contenders.append(Contender("autofaiss", build, None))
        duels.append(Duel(OURS, "autofaiss", floor=1, goal=1.5))
    else:
        print(f"autofaiss is not measured: {PYTHON} is absent, which `make bench` makes.")
    return Benchmark(
        "build, rotated codes", "vectors", ROWS, contenders, duels, task.lost, _threads()
    )


def _task(opq: bool) -> Task:
    faiss.omp_set_num_threads(_threads())
    vectors = _vectors(short_texts(ROWS + JUDGED, WORDS))
    np.random.default_rng(0).shuffle(vectors)
    queries, stored = vectors[:JUDGED], vectors[JUDGED:]
    _, nearest = faiss.knn(queries, stored, K, faiss.METRIC_INNER_PRODUCT)
    plan = plan_codec(IndexSettings(kind="ivfpq", nlist=NLIST, train_rows=TRAIN), ROWS, 384)
    return Task(stored, queries, nearest, replace(plan, opq=opq))


def _vectors(texts: Sequence[str]) -> Float32:
    encoder = load_encoder(EncoderSettings(dtype="int8"), "cpu")
    return encoder.encode_ids([spans.ids for spans in encoder.tokeniser.encode(texts)])


def _script(task: Task, key: str) -> faiss.Index:
    index = faiss.index_factory(task.stored.shape[1], key, faiss.METRIC_INNER_PRODUCT)
    index.train(task.stored[:TRAIN])
    index.add(task.stored)
    return index


def _ours(task: Task) -> faiss.Index:
    """What the train and build stages write."""
    codec = train_codec(task.stored[:TRAIN], task.plan)
    shard = build_shard(codec, [(np.arange(ROWS), task.stored)])
    return faiss.deserialize_index(np.frombuffer(shard, np.uint8))


def _threads() -> int:
    return os.cpu_count() or 1
