"""Runs in a masked process: makes a benchmark's contenders, and runs those whose names come in.

    python -m tests.bench.masked_worker search|audit|embed|modern|mpnet-base|deberta-v3-xsmall

Names come pickled on its input, answers go pickled to its output. See `masked.py`.

torch 2.13 asks the CPU whether it has AVX-512 VNNI and has a scalar loop for products of 8-bit
numbers where it has not. No variable of the environment masks that; told not to use oneDNN, torch
takes the same loop, which is therefore what the contender "torch's loop" runs.
"""

import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from shardrank.core.arrays import Float32, Int8, Int32
from shardrank.core.protocols import Int8Product
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.documents import DocumentSearch, Reach, ShardHits
from shardrank.index.probe import nearest_documents, probe
from shardrank.index.shard import LoadedShard
from shardrank.models.forward import attention_bf16, products
from shardrank.version.recall import Grid, followed
from tests.bench import embed, ivf, kin, masked, modern
from tests.bench.harness import fastest
from tests.bench.search import part_of
from tests.bench.texts import documents
from tests.bench.vectors import Collection

Run = Callable[[], Any]

K, DEEPEST, PART = 100, 2_000, 16_384


def main() -> None:
    """Serve until the input ends."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what is printed is no answer
    torch.set_num_threads(1)
    ours = products.chosen_product()
    makers = {"search": _search, "audit": _audit, "embed": _embed, "modern": _modern}
    contenders = makers[sys.argv[1]](ours) if sys.argv[1] in makers else _kin(sys.argv[1])
    while name := _asked():
        pickle.dump(contenders[name](), answers)
        answers.flush()


def _asked() -> str:
    try:
        name: str = pickle.load(sys.stdin.buffer)
    except EOFError:
        return ""
    return name


def _search(ours: Int8Product) -> Mapping[str, Run]:
    """On every thread, each of which needs torch's loop: it is chosen for the whole process."""
    torch._C._set_mkldnn_enabled(False)
    made, judge = ivf.prepared()
    pq = ivf.faiss_pq(ivf.shard_of(made, ivf.PQ))
    least = judge.recall(pq(made.queries[: ivf.JUDGED]))
    shard = ivf.shard_of(made, ivf.SQ8)
    nprobe = next(n for n in range(1, ivf.NLIST) if _recall(shard, n, made, judge) >= least)
    print(f"{masked.PEER}: recall {least:.3f}; ours at {nprobe} lists: no less")
    ways = {
        masked.BEFORE: ivf.list_major(shard, nprobe, products.torch_product),
        masked.OURS: ivf.list_major(shard, nprobe, ours),
        masked.PEER: pq,
    }
    return {name: partial(way, made.queries[: masked.QUERIES]) for name, way in ways.items()}


def _recall(shard: bytes, nprobe: int, made: Collection, judge: ivf.Judge) -> float:
    return judge.recall(ivf.list_major(shard, nprobe)(made.queries[: ivf.JUDGED]))


class _OneByOne(DocumentSearch):
    """A search by each nprobe from its first list on, as audits had it before."""

    def find_each(self, queries: Float32, reaches: Sequence[Reach]) -> list[ShardHits]:
        return [super(_OneByOne, self).find_each(queries, [reach])[0] for reach in reaches]


def _audit(ours: Int8Product) -> Mapping[str, Run]:
    """What `stages/index/audit.py` measures in a shard of parts of the usual size."""
    torch._C._set_mkldnn_enabled(False)
    made, _ = ivf.prepared()
    shard = ivf.shard_of(made, ivf.PQ)
    faiss.omp_set_num_threads(1)
    starts = [*range(0, ivf.ROWS, PART)]
    parts = [part_of(made.stored[begin : begin + PART]) for begin in starts]

    numbers = np.arange(ivf.ROWS, dtype=np.int32)  # a document a passage

    def run(search: DocumentSearch) -> Float32:
        asked, grid = made.queries[: masked.QUESTIONS], Grid.of(ivf.NLIST, K, DEEPEST)
        with threadpool_limits(1):
            own = np.full(len(asked), -1, np.int32)
            near = nearest_documents(asked, parts, starts, numbers, followed(K), own, ours)
            return probe(search, asked, near, grid, K).found

    before = _OneByOne(
        LoadedShard.load(shard, CompiledSelector(products.torch_product)), numbers, None
    )
    now = DocumentSearch(LoadedShard.load(shard, CompiledSelector(ours)), numbers, None)
    return {masked.BEFORE: partial(run, before), masked.OURS: partial(run, now)}


def _embed(ours: Int8Product) -> Mapping[str, Run]:
    """Without bf16 in attention, which a CPU with AVX2 only does not multiply."""
    setattr(attention_bf16, "multiplies_bf16", lambda: False)  # noqa: B010
    texts = documents(masked.DOCUMENTS)
    fp32, small = embed.load("fp32"), embed.load("int8")

    def run(product: Int8Product) -> Float32:
        setattr(products, "int8_product", product)  # noqa: B010
        return embed.ours(small, texts)

    return {
        masked.FLOAT: partial(embed.ours, fp32, texts),
        masked.BEFORE: partial(run, _torch_loop),
        masked.OURS: partial(run, ours),
    }


def _modern(ours: Int8Product) -> Mapping[str, Run]:
    return modern.in_fp32(masked.DOCUMENTS)


def _kin(shape: str) -> Mapping[str, Run]:
    """One of BERT's kin in fp32, and the library in the batch that is fastest for it."""
    with TemporaryDirectory() as folder:
        model, work = kin.save(kin.KIN[shape], Path(folder)), kin.Work(kin.KIN[shape], masked.KIN)
        best = fastest(work.peers(model, "fp32", "eager"), time.process_time)
        print(f"{masked.LIBRARY}: best in {best.name}")
        return {masked.LIBRARY: best.run, masked.FLOAT: work.ours(model, "fp32")}


def _torch_loop(left: Int8, right: Int8) -> Int32:
    """The model's other products keep oneDNN."""
    torch._C._set_mkldnn_enabled(False)
    try:
        return products.torch_product(left, right)
    finally:
        torch._C._set_mkldnn_enabled(True)


if __name__ == "__main__":
    main()
