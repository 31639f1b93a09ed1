"""Units in this process, on threads: small work does not wait for Ray to start, and a debugger can
step through.

A thread takes a unit through all steps, with workers of its own. Models and searches compute on one
thread each, as on Ray, so that what a unit makes does not depend on where it runs; torch, faiss and
compiled loops hold no lock of the interpreter meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event, local
from typing import Any

import pyarrow as pa

from shardrank.core.errors import RunFailed
from shardrank.core.pools import Resources
from shardrank.core.settings import ClusterSettings
from shardrank.core.units import Made, Spec, Stage, Unit
from shardrank.kernels.limits import usable_cpus
from shardrank.kernels.machine import visible_gpus
from shardrank.models.forward.memory import give_back_freed_memory
from shardrank.stages.run.hosts import (
    Ended,
    Failure,
    Host,
    Hosting,
    Step,
    Underway,
    hostings,
)
from shardrank.stages.run.reporter import Reporter, Silent
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class Inline:
    """This process (protocol: Executor)."""

    resources: Resources
    _shares: dict[str, float] = field(default_factory=dict)
    _stops: Event = field(default_factory=Event)

    @classmethod
    def of(cls, settings: ClusterSettings) -> "Inline":
        """The machine's CPUs, or as many as the settings say, and one GPU where it has any: threads
        of one process would share it."""
        gpus = min(1, visible_gpus()) if settings.gpu == "auto" else 0
        return cls(Resources(settings.cpus or usable_cpus(), gpus))

    def shares(self) -> Mapping[str, float]:
        """See `Executor.shares`."""
        return dict(self._shares)

    def news(self) -> list[str]:
        """See `Executor.news`."""
        return []

    def meter(self, flow: str, index: str) -> Reporter:
        """See `Executor.meter`."""
        return Silent()

    def sweep(
        self,
        workspace: Workspace,
        stage: Stage[Spec, Made],
        units: Sequence[Unit[Spec]],
        steps: Sequence[Step],
    ) -> Iterator[Ended]:
        """See `Executor.sweep`."""
        self._shares.clear()
        self._stops.clear()
        line = _Line(hostings(stage, steps, workspace, self._hear))
        threads = min(self._threads(steps), len(units))
        with ThreadPoolExecutor(threads, thread_name_prefix=stage.name) as pool:
            try:
                for future in as_completed([pool.submit(line.run, unit) for unit in units]):
                    yield future.result()
            finally:
                self._stops.set()
                pool.shutdown(wait=True, cancel_futures=True)
                _give_back()

    def _hear(self, unit: str, share: float) -> None:
        """How far a unit is. One that is told of after the sweep was stopped, as by Ctrl-C, ends
        here, at a batch of its model: a thread cannot be killed."""
        self._shares[unit] = share
        if self._stops.is_set():
            raise RunFailed("The run was stopped.")

    def _threads(self, steps: Sequence[Step]) -> int:
        """As many as the smallest pool has actors; without one, as there are CPUs."""
        pools = [step.pool.actors for step in steps if step.pool]
        return min(pools, default=max(1, int(self.resources.cpus)))


def _give_back() -> None:
    """What the stage has freed: the next one wants other pieces."""
    pa.default_memory_pool().release_unused()
    give_back_freed_memory()


class _Line:
    """The steps of a stage. Each thread has hosts of its own, built for its first unit."""

    def __init__(self, told: Sequence[Hosting]) -> None:
        self._told = told
        self._mine = local()

    def run(self, unit: Unit[Any]) -> Ended:
        underway = Underway({}, started=0.0)
        for host in self._hosts():
            outcome = host.work(unit, underway)
            if not isinstance(outcome, Underway):
                return outcome
            underway = outcome
        error = TypeError(f"{unit.stage}: the last step returned no Result")
        return Ended(Failure.of(unit, error), underway.spent)

    def _hosts(self) -> list[Host]:
        if not hasattr(self._mine, "hosts"):
            self._mine.hosts = [Host(told) for told in self._told]
        hosts: list[Host] = self._mine.hosts
        return hosts
