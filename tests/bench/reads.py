"""What every stage reads from storage: files and bytes, counted at the storage itself.

    python -m tests.bench.reads CORPUS QUERIES FOLDER [--set TABLE.KEY=VALUE …] [--blocks 1 4 16]

Both flows run in this process. Then the batch is ranked again in so many blocks of queries, to see
how the files that a ranking opens grow.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shardrank.jobs.console import ConsoleReporter
from shardrank.storage.local import LocalStorage
from tests.inline import installed
from tests.world import shardrank

INDEX = ("scan", "compare", "ingest", "embed", "sample", "train", "build", "questions", "audit")
RANK = ("encode", "search", "merge", "rerank", "collate", "locate")


@dataclass
class Reads:
    """Files and bytes by stage; `stage` is the one that runs."""

    stage: str = "plan"
    files: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)

    def add(self, data: bytes) -> None:
        self.files[self.stage] += 1
        self.sizes[self.stage] += len(data)


@contextmanager
def counting() -> Iterator[Reads]:
    """All reads of local storages meanwhile. (A checked read is a read.)"""
    reads, read, started = Reads(), LocalStorage.read, ConsoleReporter.started

    def counted(self: LocalStorage, key: str) -> bytes:
        data = read(self, key)
        reads.add(data)
        return data

    def begun(self: ConsoleReporter, stage: str, *more: Any) -> None:
        reads.stage = stage
        started(self, stage, *more)

    with installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStorage, "read", counted)
        patch.setattr(ConsoleReporter, "started", begun)
        yield reads


def run(*words: str) -> Reads:
    """A command's reads."""
    with counting() as reads:
        assert shardrank(*words) == 0
    return reads


def shown(reads: Reads, stages: Sequence[str]) -> list[str]:
    """A row of a table for each stage."""
    return [
        f"| {stage} | {reads.files[stage]:,} | {reads.sizes[stage] / 1e6:,.2f} |"
        for stage in stages
        if reads.files[stage]
    ]


def grown(blocks: int, reads: Reads) -> str:
    """A row of the table of growth."""
    files, size = (sum(counts[s] for s in RANK) for counts in (reads.files, reads.sizes))
    of = [f"{reads.files[stage]:,}" for stage in ("rerank", "collate")]
    return f"| {blocks} | {files:,} | {size / 1e6:,.1f} | {' | '.join(of)} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpus")
    parser.add_argument("queries", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--blocks", type=int, nargs="*", default=[1, 4, 16])
    arguments = parser.parse_args()
    sets = [f"--set={value}" for value in ("cluster.executor=inline", *arguments.sets)]
    index, out = str(arguments.folder / "index"), arguments.folder / "out"
    lines = ["| stage | files | MB |", "|---|---|---|"]
    if not Path(index).exists():
        lines += shown(run("index", arguments.corpus, index, *sets), INDEX)
    count = sum(1 for _ in arguments.queries.open("rb"))
    growth = [
        "| blocks of queries | files opened | MB | by rerank | by collate |",
        "|---|---|---|---|---|",
    ]
    for blocks in arguments.blocks:
        shutil.rmtree(out, ignore_errors=True)
        size = f"--set=search.block_queries={-(-count // blocks)}"
        reads = run("rank", index, str(arguments.queries), str(out), *sets, size)
        if blocks == 1:
            lines += shown(reads, RANK)
        files, data = reads.files, sum(reads.sizes[stage] for stage in RANK) / 1e6
        opened = sum(files[stage] for stage in RANK)
        growth.append(
            f"| {blocks} | {opened:,} | {data:.1f} | {files['rerank']} | {files['collate']} |"
        )
    print("\n".join([*lines, "", *growth]))


if __name__ == "__main__":
    main()
