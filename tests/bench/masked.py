"""Search, audit and 8-bit models on AVX2 alone: ours, as it was before, and faiss.

The contenders of a benchmark run in one process of their own, masked so that everything in it uses
AVX2 at most (`tests/cpus.py`), wherever the benchmarks run.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.bench.distances import worst_cosine, worst_logit
from tests.bench.embed import INT8_TOLERANCE
from tests.bench.harness import Benchmark, Contender, Duel
from tests.cpus import AVX2_ONLY

QUERIES, QUESTIONS, DOCUMENTS, KIN = 4_096, 256, 20, 30
OURS, BEFORE, PEER, FLOAT = "shardrank", "torch's loop", "faiss IndexIVFPQ", "shardrank fp32"
LIBRARY = "library fp32"


class Masked:
    """A process that prepares the contenders of a benchmark, and runs one when it is told."""

    def __init__(self, benchmark: str) -> None:
        command = [sys.executable, "-m", "tests.bench.masked_worker", benchmark]
        pipe, environment = subprocess.PIPE, {**os.environ, **AVX2_ONLY}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)

    def run(self, contender: str) -> Any:
        """Its answer."""
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(contender, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def contenders(self, tolerances: Mapping[str, float | None]) -> list[Contender]:
        """In this order."""
        return [Contender(name, partial(self.run, name), t) for name, t in tolerances.items()]


def search() -> Benchmark:
    """4,096 queries of 300,000 vectors: a byte a component, and as few of 1,024 lists as find no
    less than IndexIVFPQ with 48 bytes a vector in 32 lists."""
    contenders = Masked("search").contenders({BEFORE: None, OURS: 0, PEER: None})
    duels = [Duel(OURS, BEFORE, floor=8, goal=10), Duel(OURS, PEER, floor=3, goal=5)]
    name = "search, any layout, AVX2 only"
    threads = os.cpu_count() or 1
    return Benchmark(name, "queries", QUERIES, contenders, duels, differing, threads)


def audit() -> Benchmark:
    """256 questions of 300,000 vectors: exact neighbours, and ranks at every effort; before, with a
    search from the first list on for each."""
    contenders = Masked("audit").contenders({BEFORE: None, OURS: 0})
    duels = [Duel(OURS, BEFORE, floor=8, goal=10)]
    return Benchmark("audit, AVX2 only", "questions", QUESTIONS, contenders, duels, differing)


def embed() -> Benchmark:
    """20 documents on one thread, by all-MiniLM-L6-v2 in 8 bits."""
    contenders = Masked("embed").contenders(
        {FLOAT: None, BEFORE: INT8_TOLERANCE, OURS: INT8_TOLERANCE}
    )
    duels = [Duel(OURS, BEFORE, floor=8, goal=10), Duel(OURS, FLOAT, floor=0.9, goal=1.2)]
    name = "embed, 8 bits, AVX2 only"
    return Benchmark(name, "documents", DOCUMENTS, contenders, duels, worst_cosine)


def mpnet() -> Benchmark:
    """Documents on one thread, by MPNet's base shape in fp32; the library in its best batch."""
    return _kin("mpnet-base", "documents", worst_cosine)


def deberta() -> Benchmark:
    """Pairs on one thread, by the xsmall shape of DeBERTa-v3 in fp32; likewise."""
    return _kin("deberta-v3-xsmall", "pairs", worst_logit)


def _kin(shape: str, unit: str, distance: Callable[[Any, Any], float]) -> Benchmark:
    contenders = Masked(shape).contenders({LIBRARY: None, FLOAT: 1e-3})
    duels = [Duel(FLOAT, LIBRARY, floor=1.4, goal=1.8)]
    return Benchmark(f"{shape}, AVX2 only", unit, KIN, contenders, duels, distance)


def differing(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """The share of numbers that differ."""
    return float(np.mean(wanted != found))
