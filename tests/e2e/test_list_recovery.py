"""A cascade that ends in lists, killed at any moment and run again, on any number of actors, gives
the bytes of one that was never killed."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_recovery import Driver, differing, wait_for
from tests.ending import Counter, Killed, counted
from tests.inline import installed
from tests.tiny_language import tiny_language
from tests.world import World, make_world, shardrank, snapshot

STAGES = (
    "search", "merge", "rerank-1", "reorder-1", "texts-rerank-2", "rerank-2", "reorder-2",
    "texts-rerank", "rerank", "collate",
)  # fmt: skip
PROMPT = 'method: pointwise\nbody: "{query} | {doc_content} ?"\nanswers: ["y", "n"]\n'
#: A cross-encoder, then a language model alone with each passage, then with windows of them.
CASCADE = """
[[reranker]]
model = "{cross}"
depth = 9
[[reranker]]
family = "pointwise"
model = "{language}"
prompt = "{prompt}"
depth = 7
[[reranker]]
family = "listwise"
model = "{language}"
depth = 5
window = 3
stride = 2
[search]
k = 10
block_queries = 4
"""


@dataclass(frozen=True)
class Job:
    """A ranking over an index that is there already."""

    world: World
    root: Path

    def words(self, out: Path, *sets: str) -> list[str]:
        """Of the command."""
        told = ["--config", str(self.root / "cascade.toml")]
        told += ["--set", f"encoder.model={self.world.encoder}"]
        told += [word for each in sets for word in ("--set", each)]
        files = [str(self.root / "index"), self.world.queries, str(out)]
        return ["rank", *files, "--qrels", self.world.qrels, *told]

    def finish(self, out: Path) -> dict[str, Any]:
        """Run to the end, in this process; what is left."""
        assert shardrank(*self.words(out)) == 0
        return self.seen(out)

    def seen(self, out: Path) -> dict[str, Any]:
        """All that a reader sees, each step's scores among it."""
        scores = sorted((out / "scores").rglob("*.parquet"))
        kept = {str(path.relative_to(out)): path.read_bytes() for path in scores}
        return snapshot(self.root / "index", out) | kept


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> Job:
    root = tmp_path_factory.mktemp("cascade")
    world = make_world(root / "world", models, documents=60, queries=8)
    (root / "prompt.yaml").write_text(PROMPT)
    language = tiny_language(root / "language")
    names = {"cross": world.reranker, "language": language, "prompt": root / "prompt.yaml"}
    (root / "cascade.toml").write_text(CASCADE.format(**names))
    with installed():
        assert shardrank(*world.index(root / "index", "passages.part_size=20")) == 0
    return Job(world, root)


@pytest.fixture(scope="module")
def expected(job: Job) -> dict[str, Any]:
    """What an uninterrupted run leaves."""
    with installed():
        found = job.finish(job.root / "whole")
    assert sum(name.startswith("scores/") for name in found) == 6
    return found


def test_ended_at_some_writes(job: Job, expected: dict[str, Any], tmp_path: Path) -> None:
    check_every(job, expected, tmp_path, every=23)


@pytest.mark.slow
def test_ended_at_every_write(job: Job, expected: dict[str, Any], tmp_path: Path) -> None:
    check_every(job, expected, tmp_path, every=1)


def check_every(job: Job, expected: dict[str, Any], root: Path, every: int) -> None:
    """End runs at each `every`-th change of the storage, in turn before and after it."""
    with installed() as patch:
        patch.setattr("shardrank.flows.report.write_report", lambda workspace, finished: None)
        with counted(count := Counter(at=0, before=True)):
            job.finish(root / "count")
        for number, at in enumerate(range(5, count.count + 1, every)):
            with counted(Counter(at, before=number % 2 == 0)), pytest.raises(Killed):
                job.finish(root / str(at))
            assert differing(job.finish(root / str(at)), expected) == []


WAYS = {
    "inline": ("cluster.executor=inline",),
    "1 actor": ("cluster.executor=ray", "cluster.cpus=2", "cluster.actors=1"),
    "2 actors": ("cluster.executor=ray", "cluster.cpus=2", "cluster.actors=2"),
    "4 actors": ("cluster.executor=ray", "cluster.cpus=4", "cluster.actors=4"),
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_moments(
    job: Job, expected: dict[str, Any], tmp_path: Path, way: str
) -> None:
    """Five in each way, so twenty in all."""
    rng, out = random.Random(way), tmp_path / "out"
    moments = sorted(rng.choices(range(len(STAGES)), k=5))
    for moment in moments:
        kill_in(job, out, WAYS[way], STAGES[moment], rng.uniform(0, 0.5))
    driver = Driver.start(job.words(out, *WAYS[way]))
    assert driver.process.wait(180) == 0
    driver.kill()
    assert differing(job.seen(out), expected) == []


def kill_in(job: Job, out: Path, way: tuple[str, ...], stage: str, delay: float) -> None:
    """Run until so long after a stage began, or to the end where it has begun before."""
    driver = Driver.start(job.words(out, *way))
    try:
        if wait_for(driver, out, stage):
            time.sleep(delay)
    finally:
        driver.kill()
