"""Late retrieval: 2-bit codes searched by centroids, beside MaxSim of all passages and fast-plaid.

python -m tests.bench.late_search FOLDER [DATA/cranfield WEIGHTS/colbert] [--build]

The truth is MaxSim of the vectors as they were, for all, so that codes count as well as search.
Codes of 2 bits do not find all of it whatever the search does, so each is asked for .8 and for .9
of what ours find when every passage is decoded and compared: a search in haste, and one that takes
care. Both take, of their efforts that find enough, the one that took the least; fast-plaid is
measured by its defaults too. It runs in a process of its own; what is handed over to it, before, is
not timed. Here token vectors are drawn around topics, or those of a collection; seconds are the
processor's, both processes' together, which other work on the machine does not take.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console

from shardrank.core.arrays import Int64
from shardrank.core.token_vectors import TokenVectors, lists
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.maxsim import maxsim_of_column
from shardrank.index.plaid import CentroidLists, PlaidShard, build_plaid
from shardrank.kernels.residual_codes import token_vectors
from shardrank.kernels.residual_fit import ResidualPlan, fit_residuals
from shardrank.models.encoders.late_sample import TEXTS
from shardrank.models.forward.products import int8_product
from tests.bench.fast_plaid_peer import PYTHON, FastPlaid
from tests.bench.harness import Benchmark, Clock, Contender, Duel, fastest, measure
from tests.bench.late_given import Given, K, collected, drawn, nearest
from tests.bench.show import table

PASSAGES, QUERIES, BITS = 4000, 100, 2
#: Of what the codes can find.
SHARES = (0.8, 0.9)
#: Centroids that each token probes, and how many passages are decoded: ascending.
PROBES, DEPTHS = (1, 2, 4, 8), (10, 20, 40, 80, 160, 320)
#: fast-plaid decodes a quarter of its `n_full_scores`; 4,096 are its default, beside 8 probes.
PEER_PROBES, PEER_DEPTHS = (1, 4), (64, 128, 256, 1024)
#: Documents that it scores at once; the default first.
PEER_BATCHES = ("auto", 256)
OURS, EXACT, PEER = "shardrank", "MaxSim of all", "fast-plaid"
Run = Callable[..., Int64]


@dataclass(frozen=True)
class Ours:
    """A shard, the column that it is of, and its codec."""

    shard: PlaidShard
    lists: CentroidLists
    column: pa.ChunkedArray
    codec: bytes


@dataclass(frozen=True)
class Search:
    """One of the two: how an effort, of so many probes and so deep, is run, and the seconds of the
    processor that it spent so far."""

    run: Callable[[int, int], Run]
    probes: Sequence[int]
    depths: Sequence[int]
    spent: Clock


def benchmark(threads: int, folder: Path) -> Benchmark:
    """Of drawn vectors."""
    given = drawn(PASSAGES, QUERIES)
    return compared(given, threads, opened(given, folder, threads))


def build_benchmark(folder: Path) -> Benchmark:
    """Of drawn vectors, on one thread."""
    given = drawn(PASSAGES // 2, 1)
    return built(given, opened(given, folder, 1))


def opened(given: Given, folder: Path, threads: int) -> FastPlaid | None:
    """The peer, if its environment is there."""
    if not PYTHON.exists():
        print("fast-plaid is not measured: `make build/fastplaid/.made` makes its environment.")
        return None
    return FastPlaid(given.passages, given.queries, folder / "fastplaid", threads)


def compared(given: Given, threads: int, peer: FastPlaid | None) -> Benchmark:
    """Each by the efforts that find the SHARES with the least seconds of the processor."""
    made = made_of(given.passages)
    most = 1 - given.missed(nearest(given.queries, token_vectors(made.column, made.codec)))
    wanted = [share * most for share in SHARES]
    ours = Search(partial(_ours, given, made, threads), PROBES, DEPTHS, time.process_time)
    contenders = [
        Contender(EXACT, partial(nearest, given.queries, given.passages), None),
        *_cheapest(given, wanted, OURS, ours),
    ]
    duels = [Duel(_named(OURS, SHARES[-1]), EXACT, floor=1, goal=4)]
    if peer is not None:
        peer.ready(BITS)
        contenders += _theirs(given, wanted, threads, peer)
        duels += [Duel(_named(OURS, s), _named(PEER, s), floor=2, goal=4) for s in SHARES]
        duels.append(Duel(_named(OURS, SHARES[-1]), contenders[-1].name, floor=2, goal=4))
    name = f"late retrieval of {given.name}, {BITS}-bit codes that find {most:.3f} at most"
    queries = given.queries.rows
    return Benchmark(name, "queries", queries, contenders, duels, _distance(given), threads)


def built(given: Given, peer: FastPlaid | None) -> Benchmark:
    """From token vectors to what is searched: k-means of as many centroids, codes and lists.

    Ours goes four times over seven eighths of the vectors of 2,048 passages; fast-plaid four times
    over those of 16 · √(120 · passages) of them. Both then encode all.
    """
    contenders = [Contender(OURS, partial(made_of, given.passages), None)]
    if peer is not None:
        contenders.append(Contender(PEER, partial(peer.create, nbits=BITS), None))
    duels = [Duel(OURS, each.name, floor=2, goal=4) for each in contenders[1:]]
    name = f"codes of {BITS} bits of {given.name}"
    return Benchmark(name, "passages", given.passages.rows, contenders, duels, lambda *_: 0.0)


def made_of(passages: TokenVectors) -> Ours:
    """As an index flow makes it: a codec of a sample, the codes of all, and the shard over them."""
    drawn_ones = np.random.default_rng(1).permutation(passages.rows)[:TEXTS]
    sample = passages[np.sort(drawn_ones)].vectors
    codec = fit_residuals(sample, ResidualPlan(BITS, None, normalise=True))
    codes = codec.encode(passages.vectors)
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(codec.width), len(codes), [None, pa.py_buffer(codes)]
    )
    block = (np.arange(passages.rows), passages.ends, codec.numbers(codes))
    data = build_plaid([block], passages.rows, len(codec.centroids))
    held = CentroidLists.load(data)
    shard = PlaidShard(held, codec.centroids, int8_product)
    return Ours(shard, held, pa.chunked_array([lists(passages.ends, values)]), codec.to_bytes())


def _ours(given: Given, made: Ours, threads: int, nprobe: int, depth: int) -> Run:
    """Each thread has some of the queries."""
    spans = np.array_split(np.arange(given.queries.rows), threads)

    def find(span: Int64) -> Int64:
        queries = given.queries.of_rows(span[0], span[-1] + 1)
        return _found(queries, made, Reach(nprobe, depth, K))

    def run() -> Int64:
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(find, spans)))

    return run


def _found(queries: TokenVectors, made: Ours, reach: Reach) -> Int64:
    documents = np.arange(made.lists.rows, dtype=np.int32)
    hits = DocumentSearch(made.shard, documents, None).find(queries, reach)
    scores = maxsim_of_column(queries, made.column, made.codec, hits.queries, hits.positions)
    found = np.empty((queries.rows, K), np.int64)
    for number, (begin, end) in enumerate(zip(hits.ends[:-1], hits.ends[1:], strict=True)):
        best = np.argsort(-scores[begin:end], kind="stable")[:K]
        found[number] = hits.positions[begin:end][best]
    return found


def _theirs(
    given: Given, wanted: Sequence[float], threads: int, peer: FastPlaid
) -> Iterator[Contender]:
    """At its best, and by default, but on one thread where it may have no more."""
    usual = {"top_k": K, "n_processes": 1 if threads == 1 else None}

    def spent() -> float:
        return peer.spent

    def run(nprobe: int, depth: int) -> Run:
        return partial(peer.search, **usual, n_ivf_probe=nprobe, n_full_scores=depth)

    for best in _cheapest(given, wanted, PEER, Search(run, PEER_PROBES, PEER_DEPTHS, spent)):
        search: Run = best.run
        ways = [
            Contender(best.name, partial(search, batch_size=size, n_processes=count), None)
            for size in PEER_BATCHES
            for count in {1, threads}
        ]
        yield fastest(ways, spent)
    yield Contender(f"{PEER} by default", partial(peer.search, **usual), None)


def _cheapest(
    given: Given, wanted: Sequence[float], who: str, search: Search
) -> Iterator[Contender]:
    """For each share, of the efforts that find it the one that took least; else the one that finds
    most."""
    tried: list[tuple[float, float, Run]] = []
    for nprobe in search.probes:
        for depth in search.depths:
            run = search.run(nprobe, depth)
            before = search.spent()
            recall = 1 - given.missed(run())
            tried.append((search.spent() - before, recall, run))
            if recall >= max(wanted):
                break
    for share, goal in zip(SHARES, wanted, strict=True):
        most = min(goal, max(recall for _, recall, _ in tried))
        enough = [one for one in tried if one[1] >= most]
        yield Contender(_named(who, share), min(enough, key=lambda one: one[0])[2], None)


def _named(who: str, share: float) -> str:
    return f"{who}, {share:g} of them"


def _distance(given: Given) -> Callable[[Int64, Int64], float]:
    return lambda best, found: given.missed(found)


def main() -> None:
    """On one thread, in seconds of the processor."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.late_search")
    parser.add_argument("folder", type=Path, help="of what is made, and not made again")
    parser.add_argument("collection", type=Path, nargs="?")
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--build", action="store_true", help="measure the build instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.collection:
        given = collected(asked.collection, asked.model, asked.folder)
    else:
        given = drawn(PASSAGES // 2, 1) if asked.build else drawn(PASSAGES, QUERIES)
    peer = opened(given, asked.folder, 1)
    made = built(given, peer) if asked.build else compared(given, 1, peer)
    Console().print(table(measure(made, asked.rounds, partial(_both, peer))))


def _both(peer: FastPlaid | None) -> float:
    """Seconds of this process and of the peer's."""
    return time.process_time() + (peer.spent if peer else 0.0)


if __name__ == "__main__":
    main()
