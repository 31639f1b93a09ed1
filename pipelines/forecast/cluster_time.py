"""How long a cluster would take, and what it would wait for: arithmetic, with nothing run.

Each stage's units (index_needs.py, rank_needs.py) at measured speeds (rates.py) on so many workers.
What is not in it: planning and committing, which list files; failures; slow nodes; other work.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shardrank.core.pools import Pool, Resources, on_cpus, plan_pool
from shardrank.core.settings import ClusterSettings
from shardrank.forecast.index_needs import index_needs
from shardrank.forecast.model import number_bytes
from shardrank.forecast.needs import Need
from shardrank.forecast.rank_needs import rank_needs
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work

Flow = Literal["index", "rank"]
Bound = Literal["compute", "storage", "driver", "one worker"]

#: Share of a node's memory that Ray takes for its object store, unless told otherwise.
OBJECT_STORE_SHARE = 0.3


@dataclass(frozen=True)
class Cluster:
    """Equal nodes that share a storage.

    Attributes:
        cpus: logical CPUs of a node; likewise `gpus`.
        memory_bytes: of a node.
        bytes_per_s: between a node and the storage, read and written together.
        settings: what decides the pools of actors.
    """

    nodes: int
    cpus: int
    gpus: int
    memory_bytes: float
    bytes_per_s: float
    settings: ClusterSettings = field(default_factory=ClusterSettings)

    @property
    def cores(self) -> int:
        """Of all nodes."""
        return self.nodes * self.cpus

    def slots(self, need: Need) -> Pool:
        """The workers that there could be for a stage, however few its units."""
        resources = Resources(self.cores, self.nodes * self.gpus)
        if need.runner == "model":
            return plan_pool(resources, self.settings)
        if need.runner == "search":
            return plan_pool(resources, on_cpus(self.settings))  # no GPU has been measured
        return Pool(1 if need.runner == "driver" else self.cores, 1.0, 0.0, "cpu")

    @property
    def free_bytes(self) -> float:
        """Memory of a node that workers may fill."""
        return self.memory_bytes * (1 - OBJECT_STORE_SHARE)


@dataclass(frozen=True)
class StageForecast:
    """One stage.

    Attributes:
        need: what it asks for.
        slots: workers that there could be.
        workers: those that have a unit.
        crowd: of them, how many share a node; Ray Data spreads them.
        waves: units that the busiest worker does one after another.
        compute_s: of the busiest worker: models, arithmetic, decoding, and `waiting_s`.
        waiting_s: of it, for the storage to answer file by file.
        storage_s: of the busiest node, for the bytes that it reads and writes.
        driver_s: for handing out the units.
        first_s: for the bytes of a node's first units, which its workers want at once.
        last_s: of a worker for one unit.
        core_s: of all units' models and arithmetic, one after another, without waiting.
        free_bytes: memory for each worker.
    """

    flow: Flow
    need: Need
    slots: int
    workers: int
    crowd: int
    waves: int
    compute_s: float
    waiting_s: float
    storage_s: float
    driver_s: float
    first_s: float
    last_s: float
    core_s: float
    free_bytes: float

    @property
    def wall_s(self) -> float:
        """The longest of the three; but nothing is computed before the first units are read, and
        the last to be read are still to be computed."""
        computing, reading = self.first_s + self.compute_s, self.storage_s + self.last_s
        return max(computing, reading, self.driver_s)

    @property
    def bound_by(self) -> Bound:
        parts: dict[Bound, float] = {
            "one worker" if self.workers == 1 else "compute": self.compute_s - self.waiting_s,
            "storage": max(self.storage_s, self.waiting_s),
            "driver": self.driver_s,
        }
        return max(parts, key=lambda name: parts[name])

    @property
    def driver_bytes(self) -> float:
        """Memory of the driver: specs as text and as a table, and what it gathers."""
        mine = self.need.memory if self.need.runner == "driver" else 0.0
        return mine + 2 * self.spec_bytes + self.need.gathered

    @property
    def spec_bytes(self) -> float:
        return self.need.units * self.need.spec

    @property
    def node_bytes(self) -> float:
        """Memory of a node that workers may fill."""
        return self.free_bytes * self.crowd


@dataclass(frozen=True)
class Forecast:
    """All stages of both flows, in order, and what they are to do."""

    work: Work
    stages: Sequence[StageForecast]

    def of(self, flow: Flow) -> list[StageForecast]:
        return [stage for stage in self.stages if stage.flow == flow]

    def seconds(self, flow: Flow) -> float:
        return sum(stage.wall_s for stage in self.of(flow))

    @property
    def bottleneck(self) -> StageForecast:
        """The stage that takes longest, of both flows."""
        return max(self.stages, key=lambda stage: stage.wall_s)

    @property
    def driver(self) -> StageForecast:
        """The stage in which the driver holds most."""
        return max(self.stages, key=lambda stage: stage.driver_bytes)


def forecast(work: Work, cluster: Cluster, rates: Rates) -> Forecast:
    """Both flows on a new index. Raises PlanRefused where a pool of actors does not fit."""
    indexing = [_stage("index", need, cluster, rates) for need in index_needs(work, rates)]
    ranking = [_stage("rank", need, cluster, rates) for need in rank_needs(work, rates)]
    return Forecast(work, [*indexing, *ranking])


def _stage(flow: Flow, need: Need, cluster: Cluster, rates: Rates) -> StageForecast:
    pool = cluster.slots(need)
    workers = min(pool.actors, need.units)
    crowd, waves = math.ceil(workers / cluster.nodes), math.ceil(need.units / workers)
    busiest, loaded = math.ceil(need.units / cluster.nodes), crowd * need.loaded
    wait_s = need.files * rates.request_s
    model_s = _model_s(need, pool, rates)
    work_s = need.work_s / (cluster.cpus if need.spread else 1) + rates.unit_s + wait_s
    load_s = rates.load_s if need.loads else 0.0
    # Where a model is on GPUs, the cores read for it meanwhile; on CPUs both want the same cores.
    apart = pool.device != "cpu"
    reads = math.ceil(need.units / cluster.cores) if apart else waves
    both_s = max(waves * model_s, reads * work_s) if apart else waves * (model_s + work_s)
    both_s += load_s
    return StageForecast(
        flow,
        need,
        slots=pool.actors,
        workers=workers,
        crowd=crowd,
        waves=waves,
        compute_s=both_s,
        waiting_s=reads * wait_s,
        storage_s=(busiest * need.bytes + loaded) / cluster.bytes_per_s,
        driver_s=_driver_s(need, rates),
        first_s=(crowd * need.bytes + loaded) / cluster.bytes_per_s,
        last_s=model_s + work_s,
        core_s=need.units * (model_s + need.work_s + rates.unit_s) + workers * load_s,
        free_bytes=cluster.free_bytes / crowd,
    )


def _model_s(need: Need, pool: Pool, rates: Rates) -> float:
    if need.model is None:
        return 0.0
    dtype = need.model.dtype
    writing_s = need.moved / rates.numbers_per_s(number_bytes(dtype), pool.device)
    return need.flops / rates.flops_per_s(dtype, pool.device) + writing_s


def _driver_s(need: Need, rates: Rates) -> float:
    return need.units * (need.steps * rates.unit_step_s + need.spec / rates.spec_bytes_per_s)
