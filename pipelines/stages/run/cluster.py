"""The Ray that a flow runs on: a local one, or a cluster by address; quiet unless asked."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from tempfile import TemporaryFile
from threading import Thread
from typing import Any

# Read when Ray is imported or started, so set before both.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
# A second by default, so that what has read for a model is gone when there is something to write.
os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "20000")

import ray

from shardrank.core.errors import RunFailed
from shardrank.core.pools import Resources
from shardrank.core.settings import ClusterSettings
from shardrank.stages.run.on_ray import OnRay

#: What Ray Data imports that is no part of Ray: it can be imported while Ray starts.
_WANTED = ("pandas",)


@contextmanager
def connect(
    settings: ClusterSettings, verbose: bool = False, meanwhile: str | None = None
) -> Iterator[OnRay]:
    """Start or join Ray. It is left running only if it was joined.

    Args:
        settings: which Ray.
        verbose: say what Ray says.
        meanwhile: a module that is imported while Ray starts, which is mostly waiting. It must not
            import Ray.

    Raises:
        RunFailed: no Ray could be started or reached.
    """
    if ray.is_initialized():
        yield OnRay(resources(), settings.retries)
        return
    for module in filter(None, (*_WANTED, meanwhile)):
        Thread(target=import_module, args=[module]).start()
    _start(settings, verbose)
    _quieten(verbose)
    if not settings.address:
        _end_autoscaler()
    try:
        yield OnRay(resources(), settings.retries)
    finally:
        ray.shutdown()


def resources() -> Resources:
    """The connected cluster's logical CPUs and GPUs."""
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    nodes: Any = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((n["Resources"].get("CPU", 0.0) for n in nodes if n["Alive"]), default=None)
    return Resources(have.get("CPU", 0.0), have.get("GPU", 0.0), largest)


def _quieten(verbose: bool) -> None:
    import ray.data  # a third of a second, part of it spent while Ray started

    ray.data.DataContext.get_current().enable_progress_bars = verbose
    level = logging.INFO if verbose else logging.CRITICAL
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(level)


def _start(settings: ClusterSettings, verbose: bool) -> None:
    local: dict[str, Any] = {
        "num_cpus": settings.cpus,
        "include_dashboard": False,
        "object_store_memory": settings.object_store_mb << 20,
    }
    try:
        with _hushed(verbose):
            # "local" never joins a cluster that a stale file or a variable speaks of.
            ray.init(
                address=settings.address or "local",
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.CRITICAL,
                **({} if settings.address else local),
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = settings.address or "on this machine"
        raise RunFailed(
            f"Ray could not be reached or started {where}: {error}", "Check cluster.address."
        ) from error


def _end_autoscaler() -> None:
    """One machine cannot grow; and of Ray's processes this one alone does not end when it is told
    to, so that a stop would wait for it for a second."""
    node: Any = ray._private.worker._global_node
    for started in node.all_processes.get("monitor", ()):
        started.process.kill()
        started.process.wait()


@contextmanager
def _hushed(verbose: bool) -> Iterator[None]:
    """Keep what Ray's native code says while it starts from standard error: it greets there,
    whatever its log level. Its words are shown where starting fails."""
    if verbose:
        yield
        return
    kept = os.dup(2)
    with TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
