"""MaxSim of 100 queries and 100 passages each, from stored token vectors: ours, PyLate's
`rank.rerank`, and a batched, padded einsum of torch.

Each query has its own passages, so none is shared, which is our worst case. The peers are given
float32 tensors, one a passage, that lie in memory; ours is given the column, in fp16. PyLate is
looked for on the path and in build/pylate: pip install --no-deps --target build/pylate
pylate==1.6.0.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from shardrank.core.arrays import Float32
from shardrank.core.token_vectors import TokenVectors, vector_lists
from shardrank.index.maxsim import StoredTokens, maxsim_scores
from tests.bench.harness import Benchmark, Contender, Duel, fastest, measure
from tests.bench.show import table

QUERIES, PASSAGES, QUERY_TOKENS, DIM = 100, 100, 32, 128
SHORTEST, LONGEST = 30, 300
ROUNDS = 5
BATCHES = (4, 8, 16, 32, 100)
TOLERANCE = 1e-5
OURS, PYLATE, EINSUM = "shardrank", "PyLate rank.rerank", "torch einsum"
HERE = Path("build/pylate")


@dataclass(frozen=True)
class Given:
    """Queries and their passages, as each contender wants them."""

    queries: TokenVectors
    passages: StoredTokens
    asked: Tensor
    tensors: Sequence[Sequence[Tensor]]


def benchmark(threads: int) -> Benchmark:
    """On so many threads."""
    given = _given()
    einsum = fastest([*_einsums(given, threads)])
    pylate = Contender(PYLATE, partial(_pylate, given, threads), TOLERANCE)
    ours = Contender(OURS, partial(_ours, given, threads), TOLERANCE)
    name = f"MaxSim of {QUERY_TOKENS} and {SHORTEST} to {LONGEST} tokens ({einsum.name})"
    duels = [Duel(OURS, PYLATE, floor=5, goal=8), Duel(OURS, einsum.name, floor=3, goal=4)]
    items = QUERIES * PASSAGES
    return Benchmark(name, "pairs", items, [einsum, pylate, ours], duels, _furthest, threads)


def main() -> None:
    """On one thread, in seconds of the processor, which other work on the machine does not take."""
    torch.set_num_threads(1)
    Console().print(table(measure(benchmark(1), ROUNDS, time.process_time)))


def _given() -> Given:
    random = np.random.default_rng(0)
    sizes = random.integers(SHORTEST, LONGEST + 1, QUERIES * PASSAGES)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    held, asked = (_unit(random, count) for count in (ends[-1], QUERIES * QUERY_TOKENS))
    tensors = torch.split(torch.from_numpy(held.astype(np.float32)), sizes.tolist())
    lists = [tensors[n : n + PASSAGES] for n in range(0, len(tensors), PASSAGES)]
    queries = TokenVectors(np.arange(QUERIES + 1) * QUERY_TOKENS, asked.astype(np.float32))
    whole = torch.from_numpy(queries.vectors).view(QUERIES, QUERY_TOKENS, DIM)
    return Given(queries, StoredTokens.of(vector_lists(ends, held)), whole, lists)


def _unit(random: np.random.Generator, count: int) -> Any:
    """float16[count, DIM]."""
    drawn = random.standard_normal((count, DIM), dtype=np.float32)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def _ours(given: Given, threads: int) -> Float32:
    """float32[queries · passages]; each thread has neighbouring passages."""
    right = np.arange(QUERIES * PASSAGES)
    spans = np.array_split(right, threads)

    def score(span: Any) -> Float32:
        return maxsim_scores(given.queries, given.passages, span // PASSAGES, span)

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(score, spans)))


def _pylate(given: Given, threads: int) -> list[list[dict[str, Any]]]:
    """Of each query its passages and scores, the best first."""
    torch.set_num_threads(threads)
    ids = [list(range(PASSAGES))] * QUERIES
    try:
        found: list[list[dict[str, Any]]] = _rerank()(ids, list(given.asked), list(given.tensors))
    finally:
        torch.set_num_threads(1)
    return found


def _rerank() -> Callable[..., Any]:
    """PyLate's function."""
    if find_spec("pylate") is None:
        sys.path.append(str(HERE))
    try:
        from pylate.rank import rerank
    except ModuleNotFoundError as lacking:
        raise SystemExit(f"{lacking}: see the head of tests/bench/maxsim.py") from None
    found: Callable[..., Any] = rerank
    return found


def _einsums(given: Given, threads: int) -> list[Contender]:
    """By the size of a batch, of passages as they come or the short ones first."""
    return [
        Contender(
            f"{EINSUM}, batches of {size}{', by length' if by_length else ''}",
            partial(_einsum, given, size, by_length, threads),
            None,
        )
        for size in BATCHES
        for by_length in (False, True)
    ]


def _einsum(given: Given, size: int, by_length: bool, threads: int) -> Float32:
    torch.set_num_threads(threads)
    scores = torch.empty(QUERIES, PASSAGES)
    for query, (asked, passages) in enumerate(zip(given.asked, given.tensors, strict=True)):
        order = list(range(PASSAGES))
        if by_length:
            order.sort(key=lambda n: len(passages[n]))
        for begin in range(0, PASSAGES, size):
            some = order[begin : begin + size]
            padded = pad_sequence([passages[n] for n in some], batch_first=True)
            products = torch.einsum("qd,bnd->bqn", asked, padded)
            scores[query, some] = products.amax(-1).sum(-1)
    torch.set_num_threads(1)
    return scores.numpy().reshape(-1)


def _furthest(wanted: Float32, found: Any) -> float:
    """Of their scores, the largest difference by the score."""
    if isinstance(found, list):
        found = np.array([[one["score"] for one in _by_id(each)] for each in found]).reshape(-1)
    return float((np.abs(wanted - found) / wanted).max())


def _by_id(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda one: int(one["id"]))


if __name__ == "__main__":
    main()
