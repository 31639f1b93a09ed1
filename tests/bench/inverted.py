"""BM25 of many queries: an inverted index of ours against bm25s, from terms to the k best passages.

Passages are words drawn by Zipf's law; a query is some of a passage's, without the most frequent
ones. bm25s keeps each term's score ready for each passage; ours reckons it from the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.sparse import SparseRows, joined
from shardrank.index.bm25 import Bm25, count_terms, idf
from shardrank.index.inverted import InvertedShard, build_inverted
from tests.bench.harness import Benchmark, Contender, Duel

QUERIES, K, WORDS, VOCABULARY, STOP = 1_000, 100, 60, 200_000, 50
K1, B = 1.5, 0.75
#: Relative: scores are sums of float32.
TOLERANCE = 1e-6
OURS, DEFAULT, BEST = "shardrank", "bm25s", "bm25s numba"
#: Passages that are turned into sparse rows at once.
_AT_ONCE = 1 << 14


@dataclass(frozen=True, eq=False)
class Task:
    """Passages and queries, as the numbers of their words."""

    passages: Sequence[Int64]
    queries: Sequence[Int64]


def benchmark(passages: int, terms: int) -> Benchmark:
    """1,000 queries of so many terms against passages of about 60 words, k = 100."""
    task = _task(passages, terms)
    contenders, duels = [Contender(OURS, _ours(task), TOLERANCE)], []
    if find_spec("bm25s"):
        contenders += [
            Contender(DEFAULT, _peer(task, "numpy"), TOLERANCE),
            Contender(BEST, _peer(task, "numba"), TOLERANCE),
        ]
        duels += [Duel(OURS, DEFAULT, floor=10, goal=20), Duel(OURS, BEST, floor=2, goal=5)]
    else:
        print("bm25s is not measured: it is absent, and `make bench` installs it.")
    name = f"BM25, {terms} terms, {passages:,} passages"
    return Benchmark(name, "queries", QUERIES, contenders, duels, furthest)


def furthest(wanted: Float32, found: Float32) -> float:
    """The largest relative difference of scores of one rank."""
    return float((np.abs(wanted - found) / np.maximum(wanted, 1e-9)).max())


def _task(passages: int, terms: int) -> Task:
    random = np.random.default_rng(0)
    shares = 1 / (np.arange(VOCABULARY) + 3.7)
    lengths = np.clip(random.lognormal(np.log(WORDS), 0.4, passages), 8, 400).astype(np.int64)
    words = np.searchsorted(np.cumsum(shares / shares.sum()), random.random(lengths.sum()))
    texts = np.split(np.minimum(words, VOCABULARY - 1), np.cumsum(lengths)[:-1])
    rare = (texts[number][texts[number] >= STOP] for number in random.permutation(passages))
    long = (words for words in rare if len(words) >= terms)
    return Task(texts, [random.choice(next(long), terms, replace=False) for _ in range(QUERIES)])


def _ours(task: Task) -> Any:
    count = len(task.passages)
    blocks = [_rows(task.passages[at : at + _AT_ONCE]) for at in range(0, count, _AT_ONCE)]
    rows = joined(blocks)
    places = np.split(np.arange(count), range(_AT_ONCE, count, _AT_ONCE))
    shard = InvertedShard.load(build_inverted(zip(places, blocks, strict=True), count))
    terms, df = count_terms(rows)
    queries = _rows(task.queries)
    at = np.searchsorted(terms, queries.terms)
    weights = queries.weights * idf(count, df)[at]
    rule = Bm25(K1, B, float(np.mean([len(text) for text in task.passages])))
    asked = SparseRows(queries.ends, queries.terms, weights)
    return partial(_search, shard, asked, np.arange(count, dtype=np.int32), rule)


def _search(shard: InvertedShard, queries: SparseRows, documents: Int32, rule: Bm25) -> Float32:
    found = shard.search(queries, documents, None, K, rule)
    ranks = np.arange(len(found.query)) - np.searchsorted(found.query, found.query)
    scores = np.zeros((queries.rows, K), np.float32)
    first = ranks < K  # all that tie with the last are found
    scores[found.query[first], ranks[first]] = found.score[first]
    return scores


def _rows(texts: Sequence[Int64]) -> SparseRows:
    """The counts of each text's words."""
    numbers = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    pairs, counts = np.unique(numbers << 32 | np.concatenate(texts), return_counts=True)
    ends = np.searchsorted(pairs >> 32, np.arange(len(texts) + 1)).astype(np.int64)
    return SparseRows(ends, (pairs & 0xFFFFFFFF).astype(np.uint64), counts.astype(np.float32))


def _peer(task: Task, backend: str) -> Any:
    """On one thread; numba's threads would not be those that are given to the others."""
    import bm25s

    peer = bm25s.BM25(method="lucene", k1=K1, b=B, backend=backend)
    vocabulary = {str(word): word for word in range(VOCABULARY)}
    peer.index((task.passages, vocabulary), show_progress=False)
    queries = [query.tolist() for query in task.queries]
    return partial(_retrieve, peer, queries)


def _retrieve(peer: Any, queries: Sequence[Sequence[int]]) -> Float32:
    scores: Float32 = peer.retrieve(queries, k=K, show_progress=False, n_threads=0)[1]
    return scores
