"""A hybrid index of two nights and its ranking, ended at any moment and run again, give the bytes
of a run that was never ended: of parts, columns, codes and what they were fitted by, postings,
counts of words, and rankings."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_recovery import Driver, differing, wait_for
from tests.ending import Counter, Killed, counted
from tests.inline import installed
from tests.world import VOCABULARY, World, make_world, shardrank, snapshot, write_lines

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=40",
    "index.kind=exact",
    "encoder.bm25.family=bm25",
    "index.bm25.shard_passages=70",
    "encoder.bits.family=bits",
    "encoder.bits.rotation=random",
    "index.bits.shard_passages=70",
    "audit.k=5",
    "audit.queries=8",
    "gate.max_deleted=1",
    "gate.max_changed=1",
    "compact.fold=2",
    "search.k=10",
    "search.block_queries=4",
    "fusion.how=scores",
    "retriever.dense.index=dense",
    "retriever.bits.index=bits",
    "retriever.bm25.index=bm25",
    "fusion.weights=0.5,0.5,0.5",
    "reranker.depth=3",
)


@dataclass(frozen=True)
class Job:
    """Commands in their order: two nights, and a ranking; in `processes` of their own with more
    settings."""

    world: World
    second: str
    sets: tuple[str, ...] = SETS
    processes: tuple[str, ...] = ("cluster.executor=inline",)

    def commands(self, root: Path, *sets: str) -> list[list[str]]:
        index, sets = root / "index", (*self.sets, *sets)
        night = self.world.index(index, *sets)
        night[1] = self.second
        rank = self.world.rank(index, root / "out", *sets)
        return [self.world.index(index, *sets), night, rank]

    def finish(self, root: Path, begin: int = 0) -> None:
        """Those from `begin` on: what was published is not asked for again."""
        for words in self.commands(root)[begin:]:
            assert shardrank(*words) == 0

    def end_at(self, root: Path, counter: Counter) -> int:
        """Run until the counter ends it; the command that it ended."""
        with counted(counter):
            for number, words in enumerate(self.commands(root)):
                try:
                    assert shardrank(*words) == 0
                except Killed:
                    return number
        raise AssertionError("It was not ended.")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Job:
    root = tmp_path_factory.mktemp("world")
    world = make_world(root, models, documents=60, queries=8)
    return Job(world, second_night(world))


def second_night(world: World) -> str:
    """A corpus without some of the world's documents, with some changed, and with ten new ones."""
    rows = [row for n, row in enumerate(world.rows("corpus")) if n > 15 or n % 3]
    for n, row in enumerate(rows[:50:10]):
        row["text"] += f" {VOCABULARY[n]}"
    rows += [{"_id": f"new{n}", "text": f"{VOCABULARY[n]} tube flow"} for n in range(10)]
    return write_lines(world.root / "second.jsonl", rows)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, job: Job) -> dict[str, Any]:
    """What an uninterrupted run leaves."""
    root = tmp_path_factory.mktemp("whole")
    with installed():
        job.finish(root)
    return seen(root)


def seen(root: Path) -> dict[str, Any]:
    """All that a reader sees."""
    return snapshot(root / "index", root / "out")


def check_every(job: Job, expected: dict[str, Any], root: Path, every: int, first: int) -> set[str]:
    """End runs at each `every`-th change of the storage, before and after it; what was written."""
    with installed() as patch:
        patch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
        with counted(count := Counter(at=0, before=True)):
            job.finish(root / "count")
        keys = set()
        for number, at in enumerate(range(first, count.count + 1, every)):
            place, counter = root / str(at), Counter(at, before=number % 2 == 0)
            ended = job.end_at(place, counter)
            keys.add("/".join(counter.key.split("/")[:2]))
            job.finish(place, ended)
            assert differing(seen(place), expected) == []
    return keys


def test_it_is_a_hybrid_of_several_shards(expected: dict[str, Any]) -> None:
    version = expected["manifests/000002.json"]
    assert len(version["parts"]) > 2
    assert len(version["indexes"]["bm25"]["shards"]) > 1
    assert len(version["indexes"]["bits"]["shards"]) > 1
    assert any(part["deleted"] for part in version["parts"])
    assert len([name for name in expected if name.startswith("rankings/")]) == 2
    assert len([name for name in expected if name.startswith("terms/")]) == 2


def test_ended_at_some_changes(job: Job, expected: dict[str, Any], tmp_path: Path) -> None:
    assert len(check_every(job, expected, tmp_path, every=31, first=12)) > 2


@pytest.mark.slow
def test_ended_at_every_change(job: Job, expected: dict[str, Any], tmp_path: Path) -> None:
    """In turn before and after it."""
    keys = check_every(job, expected, tmp_path, every=1, first=1)
    stages = ("embed-bm25", "build-bm25", "count-bm25", "total-bm25", "encode-bm25", "search-bm25")
    assert {f"units/{stage}" for stage in (*stages, "merge", "compact", "delete")} <= keys
    assert any(key.startswith("terms/") for key in keys)
    assert {"manifests/000001.json", "manifests/000002.json", "manifest.json"} <= keys


#: A command, and the stage within which its process is killed.
MOMENTS = (
    (0, "embed-bm25"),
    (0, "build-bm25"),
    (0, "total-bm25"),
    (1, "delete"),
    (1, "embed-bm25"),
    (1, "count-bm25"),
    (2, "encode-bm25"),
    (2, "search-bm25"),
    (2, "merge"),
    (2, "collate"),
)


def kill_in(job: Job, root: Path, moment: tuple[int, str], delay: float) -> bool:
    """Give a command in a process of its own, and kill -9 it so long after the stage began; False
    where it ended before."""
    number, stage = moment
    driver = Driver.start(job.commands(root, *job.processes)[number])
    try:
        if wait_for(driver, root / ("out" if number == 2 else "index"), stage):
            time.sleep(delay)
            return driver.process.poll() is None
    finally:
        driver.kill()
    return False


def recover(
    job: Job,
    root: Path,
    moments: Sequence[tuple[int, str]],
    rng: random.Random,
    most: float = 0.05,
) -> int:
    """Kill at each moment in turn, at most so many seconds after it; a command that is over is
    ended in this process first."""
    killed, done = 0, 0
    for moment in moments:
        while done < moment[0]:
            assert shardrank(*job.commands(root)[done]) == 0
            done += 1
        killed += kill_in(job, root, moment, rng.uniform(0, most))
    job.finish(root, done)
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_processes(job: Job, expected: dict[str, Any], tmp_path: Path, seed: int) -> None:
    with installed():
        killed = recover(job, tmp_path, MOMENTS, random.Random(seed))
    print(f"{killed} of {len(MOMENTS)} kills met a running process")
    assert differing(seen(tmp_path), expected) == []
    assert killed >= 3
