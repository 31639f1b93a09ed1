"""Jobs on a cluster that loses nodes, and jobs that are stopped, give the bytes of a quiet run."""

import random
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.conftest import Ground
from tests.cluster.flow import Flow, Left, differing
from tests.cluster.ground import Cluster, Job, wait_until

pytestmark = pytest.mark.ray

EXACT = (
    "passages.max_tokens=16",
    "passages.part_size=25",
    "index.kind=exact",
    "search.k=10",
    "search.block_queries=4",
    "reranker.depth=5",
)


@dataclass(frozen=True)
class Event:
    """What happens when a share of a stage's units is done: the job is stopped, and submitted
    again; or, where `kills`, a node that is at work is killed."""

    stage: str
    share: float
    kills: bool = False
    delay: float = 0.0

    def has_come(self, left: Left, command: str) -> bool:
        begun = left.begun(command, self.stage)
        return any(left.done(command, self.stage) >= self.share * units for units in begun)


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

    def live_through(self, command: str, *events: Event) -> int:
        """Submit the command, let all happen in turn, and wait for its good end.

        Returns:
            How many of the events met a job at work.
        """
        job, met = self._submit(command), 0
        for event in events:
            wait_until(partial(self._has_come, event, command, job), str(event), every=0.1)
            time.sleep(event.delay)
            met += not job.ended
            job = self._happen(event, command, job)
        assert job.wait() == 0, job.log
        while self.killed:
            self.cluster.start(self.killed.pop())
        return met

    def _has_come(self, event: Event, command: str, job: Job) -> bool:
        return job.ended or event.has_come(self.left, command)

    def _happen(self, event: Event, command: str, job: Job) -> Job:
        if not event.kills:
            job.stop()
            return self._submit(command)
        self.killed.append(self.rng.choice(self.cluster.at_work()))
        self.cluster.kill(self.killed[-1])
        return job

    def _submit(self, command: str) -> Job:
        return self.cluster.submit(self.flow.commands[command])


def test_a_node_is_lost_while_embedding_and_a_job_stopped_while_searching(
    ground: Ground, tmp_path: Path
) -> None:
    story = Story.on(ground, 0, *EXACT)
    assert story.live_through("index", Event("embed", 0.1, kills=True)) == 1
    assert story.live_through("rank", Event("search", 0)) == 1
    story.live_through("label")
    assert differing(story.left.seen(), ground.quiet(tmp_path, *EXACT)) == []
