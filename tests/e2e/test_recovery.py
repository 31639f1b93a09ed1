"""Killed at any moment and run again, a job gives the bytes of one that was never killed.

Two ways: a whole process group is killed while it runs on Ray; and, without Ray, the run ends at
each write of a file in turn, before it and after it.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from shardrank.storage.local import LocalStorage
from tests.ending import Counter, Killed, counted
from tests.inline import installed
from tests.on_ray import COMMANDS
from tests.world import World, make_world, shardrank, snapshot

SETS = (
    "passages.max_tokens=16",
    "passages.overlap=0",
    "passages.part_size=200",
    "index.kind=ivfpq",
    "index.pq_bits=4",
    "index.nlist=8",
    "index.shard_passages=400",
    "audit.k=10",
    "audit.target=0.5",
    "audit.queries=32",
    "search.k=10",
    "search.block_queries=4",
    "reranker.depth=5",
    "cluster.cpus=2",
    "cluster.actors=1",
    "cluster.object_store_mb=100",
)
#: The stages in order, and where each leaves its record.
INDEX_STAGES = (
    "scan", "compare", "ingest", "embed", "sample", "train", "build", "questions", "audit",
)  # fmt: skip
RANK_STAGES = ("encode", "search", "merge", "rerank", "collate")
STAGES = [*(("index", s) for s in INDEX_STAGES), *(("out", s) for s in RANK_STAGES)]
DEADLINE = 180.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=300, queries=8)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, world: World) -> dict[str, Any]:
    """What an uninterrupted run leaves (inline: tests/ray shows that Ray gives the same)."""
    root = tmp_path_factory.mktemp("whole")
    with installed():
        return finish(world, root)


def finish(world: World, root: Path) -> dict[str, Any]:
    """Run both flows to their ends in this process."""
    assert shardrank(*world.index(root / "index", *SETS)) == 0
    assert shardrank(*world.rank(root / "index", root / "out", *SETS)) == 0
    return snapshot(root / "index", root / "out")


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What was lost, doubled or changed."""
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if found.get(name) != expected.get(name)]


# Killed on Ray.

COMMAND = "from shardrank.jobs.cli import main; main()"


@dataclass
class Driver:
    """A command in a process group of its own; everything it starts carries its mark."""

    mark: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, words: Sequence[str], code: str = COMMAND) -> "Driver":
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**os.environ, "SHARDRANK_TEST_MARK": mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(mark, process)

    def kill(self) -> None:
        """kill -9 of the group; then of Ray's daemons, which have sessions of their own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for left in self._left():
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()

    def _left(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SHARDRANK_TEST_MARK") == self.mark:
                    yield process


def both_on_ray(world: World, root: Path) -> Driver:
    """Both flows from where they stand, in one process."""
    words = (
        world.index(root / "index", *SETS, "cluster.executor=ray"),
        world.rank(root / "index", root / "out", *SETS, "cluster.executor=ray"),
    )
    return Driver.start([json.dumps(words), "2"], COMMANDS)


def kill_in(world: World, root: Path, stage: int, delay: float) -> bool:
    """Run both flows; kill the driver `delay` seconds after the record of the stage appears. False
    where it had ended by then."""
    folder, name = STAGES[stage]
    driver = both_on_ray(world, root)
    try:
        if wait_for(driver, root / folder, name):
            time.sleep(delay)
            return driver.process.poll() is None
        assert driver.process.wait() == 0
    finally:
        driver.kill()
    return False


def wait_for(driver: Driver, folder: Path, stage: str) -> bool:
    """Whether the stage's record appears while the driver runs."""
    since = time.monotonic()
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"runs/*/stages/{stage}.json")}
    while driver.process.poll() is None:
        assert time.monotonic() - since < DEADLINE, f"{stage} did not begin"
        now = {path: path.stat().st_mtime_ns for path in folder.glob(f"runs/*/stages/{stage}.json")}
        if now != before:
            return True
        time.sleep(0.02)
    return False


def recover(world: World, root: Path, moments: Sequence[tuple[int, float]]) -> int:
    """Kill at every moment in turn, each time going on from what the one before left."""
    return sum(kill_in(world, root, stage, delay) for stage, delay in moments)


@pytest.mark.ray
def test_two_kills(world: World, expected: dict[str, Any], tmp_path: Path) -> None:
    """One in the middle of embedding, one in the middle of the search."""
    moments = [(STAGES.index(("index", "embed")), 1.0), (STAGES.index(("out", "search")), 0.5)]
    assert recover(world, tmp_path, moments) >= 1
    with installed():
        assert differing(finish(world, tmp_path), expected) == []


@pytest.mark.ray
@pytest.mark.slow
def test_twenty_kills(world: World, expected: dict[str, Any], tmp_path: Path) -> None:
    """Rounds of five moments, in order over all stages, until 20 kills have met a running driver;
    each round is then run to its end, on Ray too, and compared."""
    rng = random.Random(0)
    killed = 0
    for attempt in range(12):
        root = tmp_path / str(attempt)
        stages = sorted(rng.sample(range(len(STAGES)), 5))
        killed += recover(world, root, [(stage, rng.uniform(0, 0.8)) for stage in stages])
        end_on_ray(world, root)
        assert differing(snapshot(root / "index", root / "out"), expected) == []
        if killed >= 20:
            break
    assert killed >= 20


def end_on_ray(world: World, root: Path) -> None:
    """Give both commands again and let them end."""
    driver = both_on_ray(world, root)
    assert driver.process.wait(2 * DEADLINE) == 0
    driver.kill()


# Ended at each write, without Ray.


def writes_of(world: World, root: Path) -> int:
    """Writes of a whole run."""
    counter = Counter(at=0, before=True)
    with counted(counter):
        finish(world, root)
    return counter.count


def end_at(world: World, root: Path, counter: Counter) -> str:
    """Run until the counter ends it; the key that was being written."""
    with counted(counter), pytest.raises(Killed):
        finish(world, root)
    return counter.key


def check_every(
    world: World, expected: dict[str, Any], root: Path, every: int, first: int
) -> set[str]:
    """End runs at each `every`-th write, before and after it; the top folders written then."""
    with installed() as patch:
        patch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
        total = writes_of(world, root / "count")
        keys = set()
        for at in range(first, total + 1, every):
            for before in (True, False):
                place = root / f"{at}-{before}"
                keys.add(end_at(world, place, Counter(at, before)).split("/")[0])
                assert differing(finish(world, place), expected) == []
    return keys


def test_ended_at_some_writes(world: World, expected: dict[str, Any], tmp_path: Path) -> None:
    assert len(check_every(world, expected, tmp_path, every=25, first=5)) > 1


def test_ended_at_the_commit_of_a_version(
    world: World, expected: dict[str, Any], tmp_path: Path
) -> None:
    """Before it there is no version; after it there is one, and the rerun adds none."""
    with installed() as patch:
        patch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
        for before in (True, False):
            root = tmp_path / str(before)
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(LocalStorage, "create", _ending(LocalStorage.create, before))
                with pytest.raises(Killed):
                    finish(world, root)
            found = sorted(path.name for path in (root / "index/manifests").glob("*"))
            assert found == ([] if before else ["000001.json"])
            assert differing(finish(world, root), expected) == []


def _ending(create: Any, before: bool) -> Any:
    def ended(self: LocalStorage, key: str, data: bytes) -> None:
        if not before:
            create(self, key, data)
        raise Killed

    return ended


@pytest.mark.slow
def test_ended_at_every_write(world: World, expected: dict[str, Any], tmp_path: Path) -> None:
    keys = check_every(world, expected, tmp_path, every=1, first=1)
    wanted = {"units", "runs", "parts", "codecs", "shards", "manifests", "rankings"}
    assert wanted | {"run.trec", "metrics.json", "manifest.json"} <= keys
