"""Late retrieval: 2-bit codes searched by centroids, beside MaxSim of all passages and fast-plaid.

Token vectors are drawn around topics. The truth is MaxSim of the vectors as they were, for all, so
that codes count as well as search.
fast-plaid is looked for on the path and in build/fastplaid: pip install --target build/fastplaid
fast-plaid; its releases are each for one torch.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from shardrank.core.arrays import Float32, Int64
from shardrank.core.token_vectors import TokenVectors, lists
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.index.maxsim import StoredTokens, maxsim_of_column, maxsim_scores
from shardrank.index.plaid import CentroidLists, PlaidShard, build_plaid
from shardrank.kernels.residual_fit import ResidualPlan, fit_residuals
from shardrank.models.forward.products import int8_product
from tests.bench.harness import Benchmark, Contender, Duel

PASSAGES, TOKENS, DIM, TOPICS = 20_000, 60, 96, 4096
QUERIES, ASKED, K, BITS = 200, 32, 10, 2
#: Token vectors that codes are fitted on, and how far they lie from their topics.
SAMPLE, SPREAD, BLUR = 100_000, 0.6, 0.3
#: What a search must find of the K best to be compared: codes of 2 bits find .87 of them at most.
WANTED = 0.85
EFFORTS = [(nprobe, depth) for nprobe in (1, 2, 4, 8) for depth in (50, 100, 200, 400)]
PEER_EFFORTS = [(nprobe, full) for nprobe in (2, 4, 8, 16) for full in (256, 1024, 4096)]
OURS, EXACT, PEER = "shardrank", "MaxSim of all", "fast-plaid"
HERE = Path("build/fastplaid")


@dataclass(frozen=True)
class Given:
    """Passages and queries of equally many tokens each, and the K best passages of each query."""

    passages: TokenVectors
    queries: TokenVectors
    best: Int64


@dataclass(frozen=True)
class Ours:
    """A shard, the column that it is of, and its codec."""

    search: DocumentSearch
    column: pa.ChunkedArray
    codec: bytes


def benchmark(threads: int) -> Benchmark:
    """Each at the least effort that finds 85% of the 10 best."""
    given = _given()
    made = _built(given.passages)
    ours = _cheapest(given, EFFORTS, lambda effort: partial(_ours, given, made, effort, threads))
    contenders = [
        Contender(EXACT, partial(_exact, given, given.queries), None),
        Contender(OURS, ours, 1 - WANTED),
    ]
    duels = [Duel(OURS, EXACT, floor=2, goal=10)]
    if _has_peer():
        peer = _peer(given.passages)
        theirs = _cheapest(
            given, PEER_EFFORTS, lambda effort: partial(peer, given, effort, threads)
        )
        contenders.append(Contender(PEER, theirs, None))
        duels.append(Duel(OURS, PEER, floor=2, goal=4))
    name = f"late retrieval of {PASSAGES:,} passages, {BITS}-bit codes"
    return Benchmark(name, "queries", QUERIES, contenders, duels, _missed, threads)


def _given() -> Given:
    random = np.random.default_rng(0)
    topics = random.standard_normal((TOPICS, DIM), dtype=np.float32)
    held = topics[random.integers(0, TOPICS, PASSAGES * TOKENS)]
    held = _unit(held + SPREAD * random.standard_normal(held.shape, dtype=np.float32))
    of = random.integers(0, PASSAGES, QUERIES)
    places = (
        of[:, None] * TOKENS + np.argsort(random.random((QUERIES, TOKENS)))[:, :ASKED]
    ).ravel()
    asked = held[places]
    asked = _unit(asked + BLUR * random.standard_normal(asked.shape, dtype=np.float32) / DIM**0.5)
    passages = TokenVectors(np.arange(PASSAGES + 1) * TOKENS, held)
    queries = TokenVectors(np.arange(QUERIES + 1) * ASKED, asked)
    bare = Given(passages, queries, np.empty((0, K), np.int64))
    return Given(passages, queries, _exact(bare, queries))


def _unit(vectors: Float32) -> Float32:
    found: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def _exact(given: Given, queries: TokenVectors) -> Int64:
    """int64[q, K]."""
    held, every = StoredTokens(given.passages.ends, given.passages.vectors), np.arange(PASSAGES)
    found = np.empty((queries.rows, K), np.int64)
    for number in range(queries.rows):
        scores = maxsim_scores(queries, held, np.full(PASSAGES, number), every)
        found[number] = np.argsort(-scores, kind="stable")[:K]
    return found


def _built(passages: TokenVectors) -> Ours:
    """Codes fitted on a sample, those of all passages, and the shard over them."""
    drawn = np.random.default_rng(1).permutation(len(passages.vectors))[:SAMPLE]
    codec = fit_residuals(passages.vectors[drawn], ResidualPlan(BITS, None, normalise=True))
    codes = codec.encode(passages.vectors)
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(codec.width), len(codes), [None, pa.py_buffer(codes)]
    )
    block = (np.arange(PASSAGES), passages.ends, codec.numbers(codes))
    data = build_plaid([block], PASSAGES, len(codec.centroids))
    shard = PlaidShard(CentroidLists.load(data), codec.centroids, int8_product)
    search = DocumentSearch(shard, np.arange(PASSAGES, dtype=np.int32), None)
    return Ours(search, pa.chunked_array([lists(passages.ends, values)]), codec.to_bytes())


def _ours(given: Given, made: Ours, effort: tuple[int, int], threads: int) -> Int64:
    """int64[QUERIES, K]; each thread has some of the queries."""
    spans = np.array_split(np.arange(QUERIES), threads)

    def find(span: Int64) -> Int64:
        return _found(given.queries.of_rows(span[0], span[-1] + 1), made, effort)

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(find, spans)))


def _found(queries: TokenVectors, made: Ours, effort: tuple[int, int]) -> Int64:
    nprobe, depth = effort
    hits = made.search.find(queries, Reach(nprobe, depth, K))
    scores = maxsim_of_column(queries, made.column, made.codec, hits.queries, hits.positions)
    found = np.empty((queries.rows, K), np.int64)
    for number, (begin, end) in enumerate(zip(hits.ends[:-1], hits.ends[1:], strict=True)):
        best = np.argsort(-scores[begin:end], kind="stable")[:K]
        found[number] = hits.positions[begin:end][best]
    return found


def _cheapest(
    given: Given,
    efforts: Sequence[tuple[int, int]],
    run: Callable[[tuple[int, int]], Callable[[], Int64]],
) -> Callable[[], Int64]:
    """Of the efforts, which ascend, the first that finds enough; else the greatest."""
    enough = (run(e) for e in efforts if _missed(given.best, run(e)()) <= 1 - WANTED)
    return next(enough, run(efforts[-1]))


def _missed(best: Int64, found: Int64) -> float:
    """The share of the K best that are not found."""
    both = zip(best.tolist(), found.tolist(), strict=True)
    return 1 - float(np.mean([len({*mine} & {*theirs}) / K for mine, theirs in both]))


def _has_peer() -> bool:
    if find_spec("fast_plaid") is None and HERE.is_dir():
        sys.path.append(str(HERE))
    return find_spec("fast_plaid") is not None


def _peer(passages: TokenVectors) -> Callable[[Given, tuple[int, int], int], Int64]:
    """An index of fast-plaid over the same vectors, in a folder that goes with the process."""
    from fast_plaid.search import FastPlaid

    folder = tempfile.TemporaryDirectory()
    index = FastPlaid(folder.name, device="cpu")
    index.create(list(_tensors(passages)), nbits=BITS)

    def search(given: Given, effort: tuple[int, int], threads: int) -> Int64:
        assert folder
        torch.set_num_threads(threads)
        asked, (nprobe, full) = torch.stack([*_tensors(given.queries)]), effort
        found: Any = index.search(
            asked, K, n_full_scores=full, n_ivf_probe=nprobe, show_progress=False
        )
        torch.set_num_threads(1)
        return np.array([[passage for passage, _ in each] for each in found])

    return search


def _tensors(texts: TokenVectors) -> Iterator[torch.Tensor]:
    return (torch.from_numpy(texts.text(n)) for n in range(texts.rows))
