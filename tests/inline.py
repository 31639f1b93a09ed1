"""Stages without Ray: the same workers, hosts and markers, in this process, unit by unit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import pyarrow as pa
import pytest

from shardrank.core.pools import Resources
from shardrank.core.settings import ClusterSettings
from shardrank.core.units import Done, Made, Spec, Stage, Unit
from shardrank.stages.run.sweep import _ROW, Failure, Hosting, Step, _Host, _outcome, _row
from shardrank.stages.run.workspace import Workspace

#: Who holds a name of its own for `connect`.
_CONNECTORS = (
    "shardrank.jobs.index",
    "shardrank.jobs.rank",
    "shardrank.jobs.label",
    "shardrank.jobs.demo",
    "shardrank.stages.run.cluster",
)


def sweep(
    workspace: Workspace,
    stage: Stage[Spec, Made],
    units: Sequence[Unit[Spec]],
    steps: Sequence[Step],
    retries: int,
) -> Iterator[Done[Made] | Failure]:
    """`stages/run/sweep.py` in this process: one host a step, rows as Ray carries them."""
    last = len(steps) - 1
    hosts = [
        _Host(Hosting(stage, step.make, workspace if n == last else None))
        for n, step in enumerate(steps)
    ]
    for unit in units:
        batch = pa.Table.from_pylist([_row(unit, started=0.0)], _ROW)
        for host in hosts:
            batch = host(batch)
        yield from (_outcome(stage, row) for row in batch.to_pylist())


@contextmanager
def connect(
    settings: ClusterSettings, verbose: bool = False, meanwhile: str | None = None
) -> Iterator[Resources]:
    """A cluster of as many CPUs as the settings ask for (2 where they do not say)."""
    yield Resources(settings.cpus or 2)


@contextmanager
def installed() -> Iterator[pytest.MonkeyPatch]:
    """Flows and jobs run here; `ray.init` fails. No disk is waited for: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.stages.run.runner.sweep", sweep)
        patch.setattr("ray.init", _refuse)
        patch.setattr("os.fsync", lambda descriptor: None)
        for module in _CONNECTORS:
            patch.setattr(f"{module}.connect", connect)
        yield patch


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("An inline test started Ray; tests that need it belong in tests/ray.")
