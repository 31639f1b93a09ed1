"""Ways to keep a passage's vectors: what each finds, and the bytes that it takes.

python -m tests.bench.representations FOLDER COLLECTION... --late MODEL

A collection is a folder in BEIR's layout, MODEL one of token vectors, such as colbert of `make
weights`. Each collection is indexed with all columns at once; what lies in FOLDER is not made
again. Prints the table of docs/measured-retrieval.md: nDCG@10 by the collection's judgements, and
the share of the first 10 documents of exact search with the same vectors, unquantised, that are
among the first 10.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import shardrank
from shardrank.core.settings import Settings
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import open_version
from shardrank.version.manifest import Version
from tests.bench.beir import Collection

FIRST, K = 10, 100
#: Documents that exact search of token vectors compares: those that are nearest by dense vectors.
EXACT = 2000
#: Of token vectors, by the name of their column.
LATE = {"late16": "fp16", "late4": "4", "late2": "2", "late1": "1"}
#: Settings of the index with all columns but those of LATE.
COLUMNS = (
    "encoder.bits.family=bits",
    "encoder.bits2.family=bits",
    "encoder.bits2.bits=2",
    "encoder.muvera.family=muvera",
    "encoder.muvera.of=late16",
    "encoder.learned.family=learned",
    "encoder.learned.of=late16",
)

Top = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Way:
    """How a ranking is made: the retriever's column, token vectors to rerank by, and for how many
    tokens a query keeps one there."""

    name: str
    column: str
    rerank: str = ""
    query_pool: int = 1

    def settings(self, depth: int) -> list[str]:
        """For so many documents."""
        found = [f"search.k={depth}", f"retriever.{self.column}.index={self.column}"]
        if not self.rerank:
            return [*found, "reranker.model=off"]
        told = {"family": "maxsim", "of": self.rerank, "depth": depth, "interpolation": 1}
        told["query_pool"] = self.query_pool
        return [*found, *(f"reranker.{name}={value}" for name, value in told.items())]


WAYS = (
    Way("dense, exact", "dense"),
    Way("dense, 1 bit", "bits"),
    Way("dense, 2 bits", "bits2"),
    *(Way(f"dense, then MaxSim, {LATE[c]}", "dense", c) for c in LATE),
    *(Way(f"dense, then MaxSim, fp16, queries / {n}", "dense", "late16", n) for n in (2, 4)),
    Way("MUVERA", "muvera"),
    Way("MUVERA, then MaxSim, fp16", "muvera", "late16"),
    Way("learnt", "learned"),
    Way("learnt, then MaxSim, fp16", "learned", "late16"),
    Way("learnt, then MaxSim, 2", "learned", "late2"),
)


def indexed(collection: Collection, folder: Path, sets: Sequence[str]) -> Path:
    """The collection's index, made if it is not there."""
    if not (folder / "manifests").exists():
        shardrank.index(collection.source / "corpus.jsonl", folder, overrides=[*sets])
    return folder


def ranked(
    collection: Collection, index: Path, out: Path, sets: Sequence[str]
) -> tuple[float, Top]:
    """nDCG@10, and the first documents of each query."""
    made = shardrank.rank(
        index, collection.queries, out, qrels=collection.qrels, overrides=[*sets], overwrite=True
    )
    assert made.evaluation
    means = made.evaluation.metrics
    return means.get("reranked", means["retrieved"])["nDCG@10"], first_documents(out)


def first_documents(out: Path) -> Top:
    """Of each query, as the rankings have them."""
    table = pq.read_table(out / "rankings", columns=["query_id", "doc_id", "rank"])
    found: dict[str, set[str]] = {}
    for query, document, rank in zip(*(c.to_pylist() for c in table.columns), strict=True):
        if rank <= FIRST:
            found.setdefault(query, set()).add(document)
    return {query: frozenset(documents) for query, documents in found.items()}


def shared(exact: Top, found: Top) -> float:
    """Share of the documents of `exact` that are in `found`."""
    return float(
        np.mean([len(exact[q] & found.get(q, frozenset())) / len(exact[q]) for q in exact])
    )


def bytes_each(version: Version, way: Way) -> float:
    """Of a passage's columns that are searched or reranked by."""
    names = {way.column, way.rerank} - {""}
    files = [part.columns[name].file for part in version.parts for name in names]
    return sum(file.bytes for file in files) / sum(part.rows for part in version.parts)


def measured(collection: Collection, folder: Path, late: str) -> None:
    """Print a row for each way."""
    columns = [
        f"encoder.{name}.{told}"
        for name, stored in LATE.items()
        for told in ("family=late", f"model={late}", f"stored={stored}")
    ]
    index = indexed(collection, folder / "all", [*columns, *COLUMNS])
    version = open_version(open_workspace(str(index), Settings())).version
    truths = {
        way.rerank: ranked(collection, index, folder / "exact", way.settings(EXACT))[1]
        for way in (WAYS[0], Way("MaxSim, exact", "dense", "late16"))
    }
    for way in WAYS:
        gain, found = ranked(collection, index, folder / "out", way.settings(K))
        of_tokens = way.rerank or way.column in ("muvera", "learned")
        truth = truths["late16" if of_tokens else ""]
        size = bytes_each(version, way)
        print(f"| {way.name} | {size:,.0f} | {gain:.4f} | {shared(truth, found):.3f} |", flush=True)


def main() -> None:
    """Print a table for each collection."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("collections", nargs="+", type=Path)
    parser.add_argument("--late", required=True)
    asked = parser.parse_args()
    for source in asked.collections:
        folder = asked.folder / source.name
        print(f"| {source.name} | bytes a passage | nDCG@10 | of exact's first 10 |")
        measured(Collection(source, folder), folder, asked.late)


if __name__ == "__main__":
    main()
