"""A run that begins on few nodes goes on to those that come up while it is at work."""

from dataclasses import replace

import pytest

from tests.cluster.conftest import Ground
from tests.cluster.ground import WORKERS, Cluster, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

#: Many short units, so that most are left when the nodes are up.
SETS = ("passages.max_tokens=16", "passages.part_size=2", "index.kind=exact")


def test_a_pool_grows_to_nodes_that_come_while_it_embeds(ground: Ground) -> None:
    flow, left = ground.flow(*SETS)
    grows = replace(flow, sets=(*flow.sets, "cluster.max_cpus=4", "cluster.actors=3"))
    leave_only_the_head(ground.cluster)
    job = ground.cluster.submit(grows.commands["index"])
    wait_until(lambda: left.done("index", "embed") > 0, "the first unit")
    for node in WORKERS:
        ground.cluster.start(node)
    wait_until(lambda: job.ended or bool(ground.cluster.holding()), "an actor on a new node")
    assert left.done("index", "embed") < left.begun("index", "embed")[0], job.log
    assert job.wait() == 0, job.log
    assert "2 CPUs and 0 GPUs now, up to 4 and 0 as the cluster grows" in job.log


def leave_only_the_head(cluster: Cluster) -> None:
    """Kill the others, and wait until the head knows it."""
    for node in WORKERS:
        cluster.kill(node)
    wait_until(lambda: cluster.nodes() == ["head"], "word of the nodes' end")
