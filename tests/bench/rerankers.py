"""What each kind of reranker makes of the same hits: nDCG@10, and seconds a query.

python -m tests.bench.rerankers COLLECTION… --language FOLDER [--cross FOLDER] [--queries 50]
    [--depth 20] [--kinds listwise,setwise] [--every 8]

A collection is a folder in BEIR's layout, or demo; `--every` keeps each so many-th of its
documents, and all judged ones. Of its judged queries those are taken whose ids hash lowest.
`--language` is a causal language model, such as SmolLM2 of `make weights`.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import shardrank
from shardrank.core.pace import StageNow
from shardrank.corpus.stdlib import write_demo
from shardrank.stages.run.reporter import Silent
from tests.bench.beir import Collection

#: By kind, what a [reranker] of a language model is told.
LANGUAGE: Mapping[str, Sequence[str]] = {
    "yes or no": ("family=pointwise", "prompt=relevance"),
    "likelihood of the query": ("family=pointwise", "prompt=query-likelihood"),
    "listwise, by logits": ("family=listwise",),
    "listwise, generated": ("family=listwise", "answer=generated"),
    "setwise": ("family=setwise", "top=3"),
    "groupwise": ("family=groupwise",),
    "pairwise, 2 cycles": ("family=pairwise", "pairs=cycles", "cycles=2"),
    "attention": ("family=attention",),
}


class Stopwatch(Silent):
    """Seconds of the last reranker, model loading included."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._began = time.monotonic()

    def finished(self, now: StageNow) -> None:
        if now.stage == "rerank":
            self.seconds = time.monotonic() - self._began


@dataclass(frozen=True)
class Trial:
    """A collection that is indexed, its queries, their judgements, and how deep it is reranked."""

    collection: Collection
    queries: Path
    qrels: Path
    asked: int
    depth: int

    def measured(self, told: Sequence[str]) -> tuple[float, float]:
        """nDCG@10, and seconds a query."""
        watch = Stopwatch()
        sets = [f"reranker.{each}" for each in (*told, f"depth={self.depth}")]
        with TemporaryDirectory() as out:
            ranked = shardrank.rank(
                self.collection.folder / "index",
                self.queries,
                out,
                qrels=self.qrels,
                overrides=[*sets, "search.k=100"],
                reporter=watch,
            )
        assert ranked.evaluation
        order = "retrieved" if "model=off" in told else "reranked"
        return ranked.evaluation.metrics[order]["nDCG@10"], watch.seconds / self.asked


def prepared(source: str, folder: Path, every: int, asked: int, depth: int) -> Trial:
    """The collection, indexed, and as many of its judged queries."""
    if source == "demo":
        write_demo(folder / "demo")
        source = str(folder / "demo")
    collection = Collection(Path(source), folder, every)
    judged = {judgement.query_id for judgement in collection.judgements}
    rows = [json.loads(line) for line in collection.queries.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["_id"] in judged]
    lowest = sorted(rows, key=lambda row: sha256(row["_id"].encode()).digest())[:asked]
    queries, qrels, chosen = folder / "queries.jsonl", folder / "qrels.tsv", _ids(lowest)
    queries.write_text("".join(json.dumps(row) + "\n" for row in lowest), "utf-8")
    kept = [each for each in collection.judgements if each.query_id in chosen]
    lines = [f"{each.query_id}\t{each.doc_id}\t{each.relevance}" for each in kept]
    qrels.write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n", "utf-8")
    shardrank.index(collection.corpus(), folder / "index")
    return Trial(collection, queries, qrels, len(lowest), depth)


def _ids(rows: Sequence[Mapping[str, str]]) -> frozenset[str]:
    return frozenset(row["_id"] for row in rows)


def kinds(language: str | None, cross: str | None, wanted: str) -> dict[str, Sequence[str]]:
    """What each reranker is told."""
    found: dict[str, Sequence[str]] = {"none": ("model=off",), "the shipped adapter": ()}
    if cross:
        found["cross-encoder, its logit"] = (f"model={cross}", "interpolation=1")
    if language:
        found |= {name: (f"model={language}", *told) for name, told in LANGUAGE.items()}
    return {
        name: told
        for name, told in found.items()
        if not wanted or any(each in name for each in wanted.split(","))
    }


def main() -> None:
    """Print a row for each collection and kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--language")
    parser.add_argument("--cross")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    for source in asked.collections:
        with TemporaryDirectory() as folder:
            trial = prepared(source, Path(folder), asked.every, asked.queries, asked.depth)
            for name, told in kinds(asked.language, asked.cross, asked.kinds).items():
                gain, seconds = trial.measured(told)
                row = f"{trial.collection.name:22} {name:24} {gain:.4f}  {seconds:7.3f} s a query"
                print(row, flush=True)


if __name__ == "__main__":
    main()
