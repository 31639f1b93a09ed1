"""The Ray that a flow runs on: a local one, or a cluster by address; quiet unless asked."""

import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread, current_thread, main_thread
from typing import Any

# Read when Ray is imported or started, so set before both.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
# A second by default, so that what has read for a model is gone when there is something to write.
os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "20000")

import ray

from shardrank.core.errors import RunFailed
from shardrank.core.no_pandas import take_pandas_in
from shardrank.core.pools import Resources, growing
from shardrank.core.settings import ClusterSettings
from shardrank.kernels.limits import usable_cpus
from shardrank.stages.run.executors import cluster_address
from shardrank.stages.run.joining import explained, refuse_unreachable
from shardrank.stages.run.nodes import nodes, refuse_strangers
from shardrank.stages.run.on_ray import OnRay

#: On a cluster, read when Ray is joined. Ray knows after 15 s that a node is lost, and until then
#: counts each try to reach an actor there against the unit's retries: by default about a second
#: after another, until none is left.
_PATIENCE = {
    "RAY_task_actor_unavailable_retry_delay_base_ms": "16000",
    "RAY_task_actor_unavailable_retry_max_delay_ms": "60000",
}


@contextmanager
def connect(
    settings: ClusterSettings,
    waits: Callable[[str], None],
    verbose: bool = False,
    meanwhile: str | None = None,
) -> Iterator[OnRay]:
    """Start or join Ray. It is left running only if it was joined.

    Args:
        settings: which Ray.
        waits: is told what is waited for, and what there is then.
        verbose: say what Ray says.
        meanwhile: a module that is imported while Ray starts, which is mostly waiting. It must not
            import Ray.

    Raises:
        SettingsError: the address is none of a cluster's head.
        RunFailed: no Ray could be started or reached.
        PlanRefused: nodes of the cluster run other code.
    """
    if ray.is_initialized():
        yield OnRay(resources(settings), settings.retries)
        return
    Thread(target=take_pandas_in).start()  # Ray Data wants it, too
    if meanwhile:
        Thread(target=import_module, args=[meanwhile]).start()
    address = cluster_address(settings)
    with _ended():
        if address is None:
            waits("Starting Ray on this machine …")
            _start_here(settings, verbose)
        else:
            waits(f"Joining the Ray cluster at {address} …")
            _join(address, verbose)
        _quieten(verbose)
        found = resources(settings)
        if address is not None:
            waits(f"{found.explain()}; asking its nodes for their versions …")
            refuse_strangers(nodes())
        yield OnRay(found, settings.retries)


def resources(settings: ClusterSettings) -> Resources:
    """The connected cluster's logical CPUs and GPUs, and those that it may grow to."""
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    largest = max((node.cpus for node in nodes()), default=None)
    now = Resources(have.get("CPU", 0.0), have.get("GPU", 0.0), largest)
    return now if cluster_address(settings) is None else growing(now, settings)


def _start_here(settings: ClusterSettings, verbose: bool) -> None:
    local: dict[str, Any] = {
        "num_cpus": settings.cpus or usable_cpus(),
        "include_dashboard": False,
        "object_store_memory": settings.object_store_mb << 20,
    }
    try:
        with _hushed(verbose), _token_of_its_own():
            # "local" never joins a cluster that a stale file or a variable speaks of.
            _init("local", verbose, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunFailed(
            f"Ray could not be started on this machine: {error}", "--verbose shows what Ray says."
        ) from error
    _end_autoscaler()


def _join(address: str, verbose: bool) -> None:
    refuse_unreachable(address)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    said = Heard()
    try:
        with _hushed(verbose, said):
            _init(address, verbose)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise explained(address, error, said.text) from error


@contextmanager
def _ended() -> Iterator[None]:
    try:
        yield
    finally:
        ray.shutdown()
        _handle_again()


def _handle_again() -> None:
    """Ray's native code takes the handler of SIGTERM away at its end, and Python does not know: it
    still names it, and the signal kills the process."""
    own = signal.getsignal(signal.SIGTERM)
    if callable(own) and current_thread() is main_thread():
        signal.signal(signal.SIGTERM, own)


def _init(address: str, verbose: bool, **more: Any) -> None:
    """ray.init, which leaves the process's own way with SIGTERM as it was, if it has one."""
    level = logging.INFO if verbose else logging.CRITICAL
    own = signal.getsignal(signal.SIGTERM)
    # Of nodes and processes that are lost, also before, or by other jobs, Ray tells every driver at
    # length on standard output, whatever log_to_driver is.
    ray._private.worker._worker_logs_enabled = verbose
    ray.init(address=address, log_to_driver=verbose, logging_level=level, **more)
    if callable(own) and current_thread() is main_thread():
        signal.signal(signal.SIGTERM, own)


@contextmanager
def _token_of_its_own() -> Iterator[None]:
    """A local Ray has token authentication, and would leave the token as ~/.ray/auth_token: where
    none is, each later `ray start` of this user would turn authentication on by that file."""
    have = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if not have and not (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    yield


def _quieten(verbose: bool) -> None:
    import ray.data  # a third of a second, part of it spent while Ray started

    ray.data.DataContext.get_current().enable_progress_bars = verbose
    level = logging.INFO if verbose else logging.CRITICAL
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(level)


def _end_autoscaler() -> None:
    """One machine cannot grow; and of Ray's processes this one alone does not end when it is told
    to, so that a stop would wait for it for a second."""
    node: Any = ray._private.worker._global_node
    for started in node.all_processes.get("monitor", ()):
        started.process.kill()
        started.process.wait()


class Heard:
    """What was said while it was hushed."""

    text = ""


@contextmanager
def _hushed(verbose: bool, said: Heard | None = None) -> Iterator[None]:
    """Keep what Ray's native code says while it starts from standard error: it greets there,
    whatever its log level. Where starting fails its words are shown, or handed over as `said`."""
    if verbose:
        yield
        return
    kept = os.dup(2)
    with TemporaryFile() as spool:
        os.dup2(spool.fileno(), 2)
        try:
            yield
        except BaseException:
            spool.seek(0)
            words = spool.read()
            if said is None:
                os.write(kept, words)
            else:
                said.text = words.decode("utf-8", "replace")
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
