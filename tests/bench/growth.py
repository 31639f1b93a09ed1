"""How time, memory and what is read grow with the corpus and with the batch of queries, and how
time does with the workers.

The flows run without Ray in a fresh process, so that its peak memory is that of one worker with one
unit in hand, and nothing but the work is timed. Corpus and queries grow apart: 1, 4 and 16 times.

    python -m tests.bench.growth index|rank …    # one run, for `bounds`; prints what it took
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bounds import Bound
from tests.bench.command import settings, shardrank, stage_seconds
from tests.bench.flow import short_texts, write_corpus

PASSAGES, QUERIES, WORDS = 4_096, 512, 8
FACTORS = (1, 4, 16)
#: Units of one size, whatever the size of the corpus.
INDEX = settings(
    encoder__dtype="int8",
    index__kind="exact",
    passages__split="false",
    passages__part_size=2_048,
    corpus__slice_bytes=1 << 18,
)
RANK = settings(reranker__model="off", search__block_queries=256, search__memory_mb=8)
INLINE = settings(cluster__executor="inline")
READING, EMBEDDING, SEARCHING = ("scan", "compare", "ingest"), ("embed",), ("search", "merge")


@dataclass(frozen=True)
class Point:
    """One run: seconds by stage, the peak of resident memory in bytes, and the files that were
    opened in the storage, with their bytes."""

    seconds: Mapping[str, float]
    peak: int
    files: int
    read: int

    def each(self, stages: tuple[str, ...], items: int) -> float:
        """Seconds of these stages for each of the items."""
        return sum(self.seconds[stage] for stage in stages) / items


def bounds(folder: Path, rounds: int) -> Iterator[Bound]:
    """Cost for each item, and memory, at 4 and 16 times the size as a multiple of those at 1."""
    root = folder / "growth"
    root.mkdir(parents=True, exist_ok=True)
    for factor in FACTORS:
        write_corpus(short_texts(PASSAGES * factor, WORDS), root / f"corpus-{factor}.jsonl")
        write_corpus(short_texts(QUERIES * factor, WORDS), root / f"queries-{factor}.jsonl")
    found = [_round(root / str(number), root) for number in range(rounds)]
    for factor in FACTORS[1:]:
        yield from _bounds(factor, found)
    # Two actors on two cores leave none to the driver and to what reads and writes for them.
    pairs = [_workers(root) for _ in range(rounds)]
    yield Bound("embed with 2 actors, of the time with 1", "×", pairs, 0.65)


#: Points by (flow, factor of the corpus, factor of the queries).
Points = dict[tuple[str, int, int], Point]


def _round(made: Path, root: Path) -> Points:
    points: Points = {}
    for factor in FACTORS:
        points["index", factor, 1] = _point("index", made, root, factor, 1)
    for corpus, queries in [(factor, 1) for factor in FACTORS] + [(1, f) for f in FACTORS[1:]]:
        points["rank", corpus, queries] = _point("rank", made, root, corpus, queries)
    return points


def _bounds(factor: int, rounds: list[Points]) -> Iterator[Bound]:
    def grown(flow: str, corpus: int, queries: int, stages: tuple[str, ...]) -> list[float]:
        items = corpus * queries
        pairs = [(points[flow, corpus, queries], points[flow, 1, 1]) for points in rounds]
        return [large.each(stages, items) / small.each(stages, 1) for large, small in pairs]

    def peaks(flow: str, corpus: int, queries: int) -> list[float]:
        return [points[flow, corpus, queries].peak / points[flow, 1, 1].peak for points in rounds]

    def reads(flow: str, corpus: int, queries: int) -> Iterator[Bound]:
        pairs = [(points[flow, corpus, queries], points[flow, 1, 1]) for points in rounds]
        times, of = corpus * queries, f"{size} {'passages' if corpus > 1 else 'queries'}: {flow}"
        files = [large.files / small.files / times for large, small in pairs]
        read = [large.read / small.read / times for large, small in pairs]
        yield Bound(f"{of}, files opened, for each", "×", files, 1.1)
        yield Bound(f"{of}, bytes read, for each", "×", read, 1.1)

    size = f"{factor} times the"
    reading, embedding = (grown("index", factor, 1, s) for s in (READING, EMBEDDING))
    yield Bound(f"{size} passages: scan, compare, ingest, a passage", "×", reading, 1.1)
    yield Bound(f"{size} passages: embed, a passage", "×", embedding, 1.1)
    yield Bound(f"{size} passages: index, peak memory", "×", peaks("index", factor, 1), 1.1)
    yield from reads("index", factor, 1)
    for name, at in (("passages", (factor, 1)), ("queries", (1, factor))):
        searching = grown("rank", *at, SEARCHING)
        yield Bound(f"{size} {name}: search, merge, a query and passage", "×", searching, 1.1)
        yield Bound(f"{size} {name}: rank, peak memory", "×", peaks("rank", *at), 1.1)
        yield from reads("rank", *at)


def _point(flow: str, made: Path, root: Path, corpus: int, queries: int) -> Point:
    index = made / f"index-{corpus}"
    out = made / f"ranked-{corpus}-{queries}"
    words = {
        "index": ["index", root / f"corpus-{corpus}.jsonl", index, *INDEX, *INLINE],
        "rank": ["rank", index, root / f"queries-{queries}.jsonl", out, *RANK, *INLINE],
    }[flow]
    command = [sys.executable, "-m", "tests.bench.growth", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    took = json.loads(done.stdout.splitlines()[-1])
    return Point(stage_seconds(index if flow == "index" else out), **took)


def _workers(root: Path) -> float:
    """On Ray: the seconds of embed with two actors over those with one."""
    seconds = []
    for actors in (2, 1):
        index = root / f"actors-{actors}"
        shutil.rmtree(index, ignore_errors=True)
        sets = [*INDEX, *settings(cluster__actors=actors, cluster__executor="ray")]
        shardrank("index", root / "corpus-16.jsonl", index, *sets)
        seconds.append(stage_seconds(index)["embed"])
    return seconds[0] / seconds[1]


def main() -> None:
    """The command of the arguments in this process, without Ray; then what it took, as JSON."""
    import torch

    from tests.bench.reads import run

    torch.set_num_threads(1)
    reads = run(*sys.argv[1:])
    files, read = (sum(counts.values()) for counts in (reads.files, reads.sizes))
    print(json.dumps({"peak": _peak(), "files": files, "read": read}))


def _peak() -> int:
    """The most bytes that this process had in memory; rusage counts its parent's before exec."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
