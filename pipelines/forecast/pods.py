"""The pods that a forecast's cluster is made of, and what each asks for: arithmetic."""

import math
from dataclasses import dataclass

from shardrank.core.errors import PlanRefused
from shardrank.forecast.cluster_time import (
    OBJECT_STORE_SHARE,
    Cluster,
    Flow,
    Forecast,
    StageForecast,
)
from shardrank.forecast.misfits import too_large
from shardrank.forecast.needs import PROCESS_BYTES

GB = 1e9

#: What Ray's own processes hold on a head with a job server: 0.6 GB were measured where it was the
#: only node, the rest is for what the others make of it. And the least that a head is given.
HEAD_BYTES, LEAST_HEAD_BYTES = 2e9, 8e9


@dataclass(frozen=True)
class Pods:
    """One head, where the command runs and no unit does, and equal workers, a node of Ray each.

    Attributes:
        workers: how many there are.
        cpus: of a worker; likewise `gpus`.
        requested_gb: memory of a worker that its flow needs, which is asked for.
        memory_gb: memory of a worker, which is its limit.
        head_gb: memory of the head, asked for and limit.
    """

    workers: int
    cpus: int
    gpus: int
    requested_gb: int
    memory_gb: int
    head_gb: int


def pods(flow: Flow, found: Forecast, cluster: Cluster) -> Pods:
    """For one flow. Raises PlanRefused where a stage's workers do not fit the nodes."""
    stages = found.of(flow)
    _refuse_misfits(stages)
    return Pods(
        workers=cluster.nodes,
        cpus=cluster.cpus,
        gpus=cluster.gpus if cluster.settings.gpu == "auto" else 0,
        requested_gb=min(_requested_gb(stages, cluster), _limit_gb(cluster)),
        memory_gb=_limit_gb(cluster),
        head_gb=_head_gb(stages),
    )


def _refuse_misfits(stages: list[StageForecast]) -> None:
    for line in (line for stage in stages for line in too_large(stage)):
        message, _, hint = line.partition(". ")
        raise PlanRefused(f"{message}.", hint)


def _limit_gb(cluster: Cluster) -> int:
    return max(1, int(cluster.memory_bytes / GB))


def _requested_gb(stages: list[StageForecast], cluster: Cluster) -> int:
    """What Ray takes for its object store, and what the fullest stage's workers hold."""
    held = max(stage.crowd * stage.need.memory for stage in stages if stage.need.runner != "driver")
    return math.ceil((OBJECT_STORE_SHARE * cluster.memory_bytes + held) / GB)


def _head_gb(stages: list[StageForecast]) -> int:
    """What is left beside the object store holds Ray's processes, and the driver."""
    held = HEAD_BYTES + PROCESS_BYTES + max(stage.driver_bytes for stage in stages)
    return math.ceil(max(LEAST_HEAD_BYTES, held / (1 - OBJECT_STORE_SHARE)) / GB)
