"""Exact-term reranking: how fast pairs are scored, and what it finds beside other rerankers.

python -m tests.bench.exact_terms FOLDER COLLECTION --sparse MODEL [--late MODEL] [--cross MODEL]

The benchmark scores 100 queries with 100 passages each: ours, the loop over dictionaries of
TILDEv2's authors (ielab/TILDE, inferencev2.py), whose dictionaries lie ready, and scipy's sparse
matrices. The command indexes a collection in BEIR's layout, and prints nDCG@10 of each way to
rerank, and the seconds of the processor that a ranking takes more than one without.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.sparse import csr_matrix

import shardrank
from shardrank.core.arrays import Float32, Int64
from shardrank.core.sparse import SparseRows
from shardrank.index.term_pairs import term_scores
from tests.bench.beir import Collection
from tests.bench.harness import Benchmark, Contender, Duel, measure
from tests.bench.show import table

QUERIES, PASSAGES, VOCABULARY = 100, 100, 30_522
DEPTH, ROUNDS = 100, 5
#: Of terms, and what they are; and a weight of their score that leaves most to the vectors' one.
COLUMNS = {
    "bm25": "BM25",
    "sparse": "splade-tiny",
    "exact": "splade-tiny, no model for queries",
}
MIXED = 0.02
TOLERANCE = 1e-5
OURS, LOOP, MATRICES = "shardrank", "TILDE's inferencev2.py", "scipy, rows multiplied"


@dataclass(frozen=True)
class Given:
    """Queries and their passages: of query q those from q · PASSAGES on."""

    queries: SparseRows
    passages: SparseRows

    @property
    def left(self) -> Int64:
        return np.arange(QUERIES * PASSAGES) // PASSAGES


def benchmark(asked: int, held: int) -> Benchmark:
    """Of queries of so many terms, and passages of so many: of TILDEv2 or SPLADE."""
    given = Given(_drawn(QUERIES, asked, 0), _drawn(QUERIES * PASSAGES, held, 1))
    tables = [_table(given.passages, row) for row in range(given.passages.rows)]
    contenders = [
        Contender(LOOP, partial(_loop, given, tables), TOLERANCE),
        Contender(MATRICES, partial(_matrices, given), TOLERANCE),
        Contender(OURS, partial(_ours, given), TOLERANCE),
    ]
    duels = [Duel(OURS, LOOP, floor=5, goal=10), Duel(OURS, MATRICES, floor=2, goal=4)]
    name = f"exact terms, {asked} of a query, {held} of a passage"
    return Benchmark(name, "pairs", QUERIES * PASSAGES, contenders, duels, _furthest, 1)


def _drawn(rows: int, terms: int, seed: int) -> SparseRows:
    """Terms by Zipf's law, so that a query's are met."""
    random = np.random.default_rng(seed)
    chances = 1 / np.arange(1, VOCABULARY + 1)
    pool = random.choice(VOCABULARY, (rows, 3 * terms), p=chances / chances.sum())
    drawn = [np.unique(row)[:terms] for row in pool]
    ends = np.cumsum([0, *map(len, drawn)], dtype=np.int64)
    weights = random.gamma(2.0, 1.0, int(ends[-1]))
    return SparseRows(ends, np.concatenate(drawn).astype(np.uint64), weights.astype(np.float32))


def _table(rows: SparseRows, row: int) -> dict[int, np.float32]:
    span = slice(*rows.ends[row : row + 2])
    return dict(zip(rows.terms[span].tolist(), rows.weights[span], strict=True))


def _ours(given: Given) -> Float32:
    return term_scores(given.queries, given.passages, given.left, np.arange(given.passages.rows))


def _loop(given: Given, tables: Sequence[dict[int, np.float32]]) -> Float32:
    """As theirs, with a query's weights."""
    scores = []
    for query in range(QUERIES):
        terms = _table(given.queries, query)
        for held in tables[query * PASSAGES : (query + 1) * PASSAGES]:
            score = 0.0
            for term, weight in terms.items():
                if term in held:
                    score += float(weight) * held[term].item()
            scores.append(score)
    return np.array(scores, np.float32)


def _matrices(given: Given) -> Float32:
    queries, passages = (_matrix(rows) for rows in (given.queries, given.passages))
    products = queries[given.left].multiply(passages)
    found: Float32 = np.asarray(products.sum(axis=1), np.float32).reshape(-1)
    return found


def _matrix(rows: SparseRows) -> csr_matrix:
    parts = (rows.weights, rows.terms.astype(np.int32), rows.ends.astype(np.int32))
    return csr_matrix(parts, shape=(rows.rows, VOCABULARY))


def _furthest(wanted: Float32, found: Float32) -> float:
    return float((np.abs(wanted - found) / (1 + np.abs(wanted))).max())


def speed() -> None:
    """The benchmarks in seconds of the processor, which other work on the machine does not take."""
    for benched in (benchmark(6, 60), benchmark(30, 120)):
        Console().print(table(measure(benched, ROUNDS, time.process_time)))


def _ways(late: str | None, cross: str | None) -> dict[str, tuple[str, ...]]:
    """Settings of each way to rerank, by its name."""
    ways: dict[str, tuple[str, ...]] = {"none": ("model=off",)}
    for column, name in COLUMNS.items():
        told = ("family=terms", f"of={column}")
        ways[f"terms of {name}"] = (*told, "interpolation=1")
        ways[f"terms of {name}, at {MIXED}"] = (*told, f"interpolation={MIXED}")
    if late:
        ways["MaxSim, fp16"] = ("family=maxsim", "interpolation=1")
    if cross:
        ways["cross-encoder"] = (f"model={cross}",)
    return ways


def _indexed(collection: Collection, folder: Path, sparse: str, late: str | None) -> None:
    told = ["encoder.bm25.family=bm25"]
    for name in ("sparse", "exact"):
        told += [f"encoder.{name}.family=sparse", f"encoder.{name}.model={sparse}"]
    told.append("encoder.exact.query_terms=tokens")
    if late:
        told += ["encoder.late.family=late", f"encoder.late.model={late}"]
    if not (folder / "manifests").exists():
        shardrank.index(collection.source / "corpus.jsonl", folder, overrides=told)


def _ranked(collection: Collection, folder: Path, way: Sequence[str]) -> tuple[float, float]:
    """nDCG@10, and seconds of the processor."""
    asked = ["retriever.dense.index=dense", f"search.k={DEPTH}"]
    asked += [f"reranker.{each}" for each in way]
    asked += [] if way == ("model=off",) else [f"reranker.depth={DEPTH}"]
    began = time.process_time()
    index, out = folder / "index", folder / "out"
    made = shardrank.rank(
        index, collection.queries, out, qrels=collection.qrels, overrides=asked, overwrite=True
    )
    assert made.evaluation
    means = made.evaluation.metrics
    found = means.get("reranked", means["retrieved"])["nDCG@10"]
    return found, time.process_time() - began


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--sparse", required=True)
    parser.add_argument("--late")
    parser.add_argument("--cross")
    asked = parser.parse_args()
    collection = Collection(asked.collection, asked.folder)
    _indexed(collection, asked.folder / "index", asked.sparse, asked.late)
    _ranked(collection, asked.folder, ("model=off",))  # imports and compiles
    plain = 0.0
    for name, way in _ways(asked.late, asked.cross).items():
        gain, seconds = _ranked(collection, asked.folder, way)
        plain = plain or seconds
        print(f"| {name} | {gain:.4f} | {seconds - plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
