"""Ways to keep a passage's vectors: what each finds, and the bytes that it takes.

python -m tests.bench.representations FOLDER COLLECTION... --late MODEL

A collection is a folder in BEIR's layout, MODEL one of token vectors, such as colbert of `make
weights`. Each collection is indexed with all columns at once, and for each index over vectors of
inverted lists once more; what lies in FOLDER is not made again. Prints the table of
docs/measured.md: nDCG@10 by the collection's judgements, and the share of the first 10 documents of
exact search with the same vectors, unquantised, that are among the first 10.
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
from tests.bench.beir import Collection

FIRST, K = 10, 100
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
#: Indexes that are made alone, over the dense vectors.
LISTS = {
    "PQ48": ("index.kind=ivfpq",),
    "RaBitQ, 1 bit": ("index.kind=ivfrabitq",),
}

Top = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Way:
    """How a ranking is made: the index, the retriever's column, and token vectors to rerank by."""

    name: str
    index: str
    column: str
    rerank: str = ""

    def settings(self, depth: int) -> list[str]:
        """For so many documents."""
        found = [f"search.k={depth}", f"retriever.{self.column}.index={self.column}"]
        if not self.rerank:
            return [*found, "reranker.model=off"]
        told = {"family": "maxsim", "of": self.rerank, "depth": depth, "interpolation": 1}
        return [*found, *(f"reranker.{name}={value}" for name, value in told.items())]


WAYS = (
    Way("dense, exact", "all", "dense"),
    *(Way(f"dense, {name}", name, "dense") for name in LISTS),
    Way("dense, 1 bit", "all", "bits"),
    Way("dense, 2 bits", "all", "bits2"),
    *(Way(f"dense, then MaxSim, {LATE[c]}", "all", "dense", c) for c in LATE),
    Way("MUVERA", "all", "muvera"),
    Way("MUVERA, then MaxSim, fp16", "all", "muvera", "late16"),
    Way("learnt", "all", "learned"),
    Way("learnt, then MaxSim, fp16", "all", "learned", "late16"),
    Way("learnt, then MaxSim, 2", "all", "learned", "late2"),
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


def bytes_each(index: Path, way: Way) -> float:
    """Of a passage: its columns, or its codes in the shards."""
    version = open_version(open_workspace(str(index), Settings())).version
    names = {way.column, way.rerank} - {""}
    codes = version.indexes[way.column].plan.code_bytes if way.index in LISTS else 0
    if codes:
        return float(codes)
    files = [part.columns[name].file for part in version.parts for name in names]
    return sum(file.bytes for file in files) / sum(part.rows for part in version.parts)


def measured(collection: Collection, folder: Path, late: str) -> None:
    """Print a row for each way."""
    columns = [
        f"encoder.{name}.{told}"
        for name, stored in LATE.items()
        for told in ("family=late", f"model={late}", f"stored={stored}")
    ]
    sets = {"all": [*columns, *COLUMNS], **{name: [*told] for name, told in LISTS.items()}}
    places = {name: indexed(collection, folder / name, each) for name, each in sets.items()}
    everything = open_version(open_workspace(str(places["all"]), Settings())).version.live.documents
    exact = {
        late: ranked(collection, places["all"], folder / "exact", way.settings(everything))[1]
        for late, way in (("", WAYS[0]), ("late", Way("", "all", "dense", "late16")))
    }
    for way in WAYS:
        gain, found = ranked(collection, places[way.index], folder / "out", way.settings(K))
        truth = exact["late" if way.rerank or way.column in ("muvera", "learned") else ""]
        size = bytes_each(places[way.index], way)
        row = f"| {way.name} | {size:,.0f} | {gain:.4f} | {shared(truth, found):.3f} |"
        print(row, flush=True)


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
