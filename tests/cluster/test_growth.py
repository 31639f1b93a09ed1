"""A run that begins on few nodes goes on to those that come up while it is at work."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from tests.cluster.conftest import Ground
from tests.cluster.ground import WORKERS, Cluster, wait_until
from tests.tiny_models import save, tiny_tokeniser

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

#: Many units, so that most are left when the nodes are up; a passage at a time takes longest.
SETS = (
    "passages.max_tokens=16",
    "passages.part_size=16",
    "encoder.batch_tokens=16",
    "encoder.dtype=fp32",
    "index.kind=exact",
)
#: Layers: seconds of work in a few kilobytes.
DEPTH = 192


def test_a_pool_grows_to_nodes_that_come_while_it_embeds(ground: Ground, tmp_path: Path) -> None:
    """What is slow is the model: else more actors would help nothing, and none would come."""
    flow, left = ground.flow(*SETS)
    flow = replace(flow, world=replace(flow.world, encoder=slow_encoder(tmp_path / "slow")))
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


def slow_encoder(folder: Path) -> Path:
    """Deep and thin."""
    torch.manual_seed(7)
    tokeniser = tiny_tokeniser()
    config = BertConfig(
        vocab_size=tokeniser.get_vocab_size(),
        max_position_embeddings=64,
        hidden_size=16,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        intermediate_size=32,
    )
    save(folder, BertModel(config), tokeniser)
    return folder
