"""The most memory that a command takes, with all processes that it starts.

    python -m tests.bench.memory COLLECTION FOLDER [--every 8] [--before CHECKOUT]
        [--rounds 3] [--set TABLE.KEY=VALUE …]

COLLECTION lies in BEIR's layout; its judged documents are taken, and of the others each so many-th.
CHECKOUT is an older one, after `make build/names`, whose commands run turn about with ours.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.bench.beir import Collection
from tests.bench.bounds import Bound
from tests.bench.command import PROGRAM, settings
from tests.bench.flow import write_corpus
from tests.bench.process_memory import Peak, peak_memory
from tests.bench.startup import PASSAGES, QUERIES
from tests.bench.texts import documents, questions

FP32 = settings(encoder__dtype="fp32", reranker__dtype="fp32")
FLOWS = ("index", "rank")
MB = 1 << 20


@dataclass(frozen=True)
class Work:
    """What is indexed and ranked, with which settings."""

    corpus: Path
    queries: Path
    sets: Sequence[str]


def bounds(folder: Path, rounds: int) -> Iterator[Bound]:
    """The small corpus of `startup`, inline on two threads and on Ray, in fp32."""
    root = folder / "memory"
    root.mkdir(parents=True, exist_ok=True)
    write_corpus(documents(PASSAGES), root / "corpus.jsonl")
    write_corpus(questions(QUERIES), root / "queries.jsonl")
    for executor, most in (("inline", (750, 750)), ("ray", (2_400, 2_400))):
        sets = [*FP32, *settings(cluster__executor=executor, cluster__cpus=2)]
        work = Work(root / "corpus.jsonl", root / "queries.jsonl", sets)
        found = [_both(work, root / f"{executor}-{n}") for n in range(rounds)]
        for flow, bound, peaks in zip(FLOWS, most, zip(*found, strict=True), strict=True):
            sizes = [peak.size / MB for peak in peaks]
            yield Bound(f"{flow}, {executor}: peak memory of all processes", "MB", sizes, bound)


def _both(work: Work, made: Path, names: str | None = None) -> list[Peak]:
    """The peaks of indexing and of ranking over that."""
    shutil.rmtree(made, ignore_errors=True)
    index, out = made / "index", made / "ranked"
    return [
        _peak(["index", work.corpus, index, *work.sets], names),
        _peak(["rank", index, work.queries, out, *work.sets], names),
    ]


def _peak(words: Sequence[str | Path], names: str | None) -> Peak:
    """Of a command, of the checkout whose folders lie under `names`, or of this one."""
    path = [names] if names else []
    command = ["env", "PYTHONPATH=" + os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])]
    return peak_memory([*command, sys.executable, "-c", PROGRAM, *map(str, words)])


def main() -> None:
    """Print a table: each flow, ours and the one before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("collection", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    arguments = parser.parse_args()
    sets = [f"--set={value}" for value in arguments.sets]
    builds: dict[str, str | None] = {"ours": None}
    if arguments.before:
        builds["before"] = str((arguments.before / "build" / "names").absolute())
    found: dict[str, list[list[Peak]]] = {name: [] for name in builds}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=arguments.folder) as folder:
        collection = Collection(arguments.collection, Path(folder), arguments.every)
        work = Work(collection.corpus(), collection.queries, sets)
        for _ in range(arguments.rounds):
            for name, names in builds.items():
                made = Path(folder) / name
                found[name].append(_both(work, made, names))
    print("| flow | build | MB | processes | seconds |\n|---|---|---|---|---|")
    for number, flow in enumerate(FLOWS):
        for name, peaks in found.items():
            print(_row(flow, name, [each[number] for each in peaks]))


def _row(flow: str, build: str, peaks: Sequence[Peak]) -> str:
    sizes = [peak.size / MB for peak in peaks]
    seconds = median(peak.seconds for peak in peaks)
    shown = f"{median(sizes):,.0f} ({min(sizes):,.0f} to {max(sizes):,.0f})"
    return f"| {flow} | {build} | {shown} | {peaks[0].processes} | {seconds:.1f} |"


if __name__ == "__main__":
    main()
