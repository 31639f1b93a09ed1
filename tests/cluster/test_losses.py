"""Jobs on a cluster that loses nodes, and jobs that are stopped, give the bytes of a quiet run."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Ground
from tests.cluster.flow import Flow, Left, differing
from tests.cluster.ground import Cluster, Job, wait_until
from tests.inline import installed
from tests.world import shardrank

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

EXACT = (
    "passages.max_tokens=16",
    "passages.part_size=25",
    "index.kind=exact",
    "search.k=10",
    "search.block_queries=4",
    "reranker.depth=5",
)
#: More stages, and enough units of each for a moment in their midst.
IVFPQ = (
    *EXACT,
    "passages.overlap=0",
    "index.kind=ivfpq",
    "index.pq_bits=4",
    "index.nlist=8",
    "index.shard_passages=50",
    "audit.k=10",
    "audit.target=0.1",
    "audit.queries=32",
)
STAGES = {
    "index": ("scan", "compare", "ingest", "embed", "sample", "train", "build", "audit"),
    "rank": ("encode", "search", "merge", "rerank", "collate"),
    "label": ("locate", "mine", "gather", "score", "export"),
}


@dataclass(frozen=True)
class Event:
    """What happens when a share of a stage's units is done: the job is stopped, and submitted
    again; or, where `kills`, a node that is at work is killed."""

    command: str
    stage: str
    share: float = 0.0
    kills: bool = False
    delay: float = 0.0

    @property
    def place(self) -> tuple[int, float]:
        return STAGES[self.command].index(self.stage), self.share

    def has_come(self, left: Left) -> bool:
        begun, done = left.begun(self.command, self.stage), left.done(self.command, self.stage)
        return any(done >= self.share * units for units in begun)

    def is_over(self, left: Left) -> bool:
        """Whether no unit of the stage is left to do."""
        return left.done(self.command, self.stage) >= max(left.begun(self.command, self.stage))


@dataclass
class Story:
    """A flow on a cluster, what it leaves, and the nodes that are lost meanwhile."""

    cluster: Cluster
    flow: Flow
    left: Left
    rng: random.Random
    killed: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, ground: Ground, seed: int, *sets: str) -> "Story":
        return cls(ground.cluster, *ground.flow(*sets), random.Random(seed))

    def live_through(self, command: str, events: Sequence[Event] = ()) -> None:
        """Submit the command, let all happen in turn, and wait for its good end."""
        job = self._submit(command)
        for event in events:
            wait_until(partial(self._has_come, event, job), str(event), every=0.1)
            time.sleep(event.delay)
            job = self._happen(event, job)
        assert job.wait() == 0, job.log
        assert "(raylet)" not in job.log, job.log
        while self.killed:
            self.cluster.start(self.killed.pop())

    def _has_come(self, event: Event, job: Job) -> bool:
        return job.ended or event.has_come(self.left)

    def _happen(self, event: Event, job: Job) -> Job:
        if not event.kills:
            job.stop()
            return self._submit(event.command)
        self.killed.append(self.rng.choice(self.cluster.at_work()))
        self.cluster.kill(self.killed[-1])
        assert not event.is_over(self.left), f"{event} came too late"
        return job

    def _submit(self, command: str) -> Job:
        return self.cluster.submit(self.flow.commands[command])


def test_a_node_is_lost_while_embedding_and_a_job_stopped_while_searching(
    ground: Ground, tmp_path: Path
) -> None:
    story = Story.on(ground, 0, *EXACT)
    story.live_through("index", [Event("index", "embed", 0.1, kills=True)])
    story.live_through("rank", [Event("rank", "search")])
    with installed():
        assert shardrank(*story.flow.commands["label"]) == 0
    assert differing(story.left.seen(), ground.quiet(tmp_path, *EXACT)) == []


@pytest.fixture(scope="module")
def expected(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is left where nothing happens."""
    return ground.quiet(tmp_path_factory.mktemp("quiet"), *IVFPQ)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_twenty_rounds(ground: Ground, expected: dict[str, Any], seed: int) -> None:
    """In each a node is lost while embedding, one while searching, and a job is stopped."""
    story = Story.on(ground, seed, *IVFPQ)
    events = happenings(story.rng)
    print(f"seed {seed}: {events}")
    for command in STAGES:
        story.live_through(command, [event for event in events if event.command == command])
    assert differing(story.left.seen(), expected) == []


def happenings(rng: random.Random) -> list[Event]:
    """Three, in the order in which they can happen."""
    command = rng.choice(list(STAGES))
    return sorted(
        (
            Event("index", "embed", rng.uniform(0, 0.4), kills=True),
            Event("rank", "search", kills=True, delay=rng.uniform(0, 4)),
            Event(command, rng.choice(STAGES[command]), rng.uniform(0, 0.4), delay=rng.random()),
        ),
        key=lambda event: event.place,
    )
