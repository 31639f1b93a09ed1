"""The ground of these tests: a cluster of infra/ray-cluster, an S3 that its nodes see, and jobs."""

import os
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

SCRIPT = Path(__file__).parents[2] / "infra" / "ray-cluster"
WORKERS = ("w1", "w2")
DEADLINE = 300.0
RUN = (sys.executable, "-c", "from shardrank.jobs.cli import main; main()")


@dataclass(frozen=True)
class Cluster:
    """A cluster that stands, and the variables by which the script knows it."""

    known_by: Mapping[str, str]
    address: str
    dashboard: str
    gateway: str

    def kill(self, node: str) -> None:
        _script(self.known_by, "kill-node", node)

    def start(self, node: str) -> None:
        _script(self.known_by, "start-node", node)

    def nodes(self) -> list[str]:
        """Those that stand, by the head's word."""
        from ray.util.state import list_nodes

        known = list_nodes(address=self.dashboard, raise_on_missing_output=False)
        return sorted(str(node.node_name) for node in known if node.state == "ALIVE")

    def at_work(self) -> list[str]:
        """Workers that hold an actor of a pool; none: all workers, as none has come up yet."""
        return self.holding() or list(WORKERS)

    def holding(self) -> list[str]:
        """Workers that hold an actor of a pool."""
        from ray.util.state import list_actors, list_nodes

        names = {node.node_id: node.node_name for node in list_nodes(address=self.dashboard)}
        actors = list_actors(address=self.dashboard, filters=[("state", "=", "ALIVE")])
        held = {names.get(a.node_id or "") for a in actors if "MapWorker" in a.class_name}
        return [name for name in WORKERS if name in held]

    def submit(self, words: Sequence[str]) -> "Job":
        """Give a command of shardrank to the cluster as a job."""
        given = [*RUN, "submit", "--address", self.dashboard, "--no-wait", *words]
        done = subprocess.run(given, capture_output=True, text=True, check=True)
        return Job(self, done.stdout.strip())

    def variables(self) -> dict[str, str]:
        """The environment in which the script knows this cluster."""
        return {**os.environ, **self.known_by}

    def jobs(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.dashboard)


@dataclass(frozen=True)
class Job:
    """A command that was submitted."""

    cluster: Cluster
    id: str

    def wait(self) -> int | None:
        """The exit code of the command; None: it ended by a signal."""
        wait_until(lambda: self.ended, f"the end of {self.id}")
        code: int | None = self.cluster.jobs().get_job_info(self.id).driver_exit_code
        return code

    @property
    def ended(self) -> bool:
        ended: bool = self.cluster.jobs().get_job_status(self.id).is_terminal()
        return ended

    def stop(self) -> None:
        """As `ray job stop` does, until it is over."""
        self.cluster.jobs().stop_job(self.id)
        wait_until(lambda: self.ended, f"the end of {self.id}")

    @property
    def log(self) -> str:
        said: str = self.cluster.jobs().get_job_logs(self.id)
        return said


def wait_until(happened: Callable[[], bool], what: str, every: float = 0.2) -> None:
    """Return when it has; fail after the deadline."""
    until = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(every)


@contextmanager
def standing() -> Iterator[Cluster]:
    """A cluster that this process has for itself. Skips where none can be started."""
    pytest.importorskip("aiohttp_cors", reason="Ray's job server needs ray[default]")
    home, net = f"/tmp/shardrank-ray-{os.getpid()}", f"10.77.{os.getpid() % 250 + 1}"
    known_by = {"RAY_CLUSTER_HOME": home, "RAY_CLUSTER_NET": net}
    try:
        told = dict(line.split("=", 1) for line in _script(known_by, "up").splitlines())
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no cluster could be started here: {error.stderr[-500:]}")
    try:
        yield Cluster(
            known_by,
            told["RAY_CLUSTER_ADDRESS"],
            told["RAY_API_SERVER_ADDRESS"],
            told["RAY_CLUSTER_GATEWAY"],
        )
    finally:
        _script(known_by, "down")


def _script(known_by: Mapping[str, str], *words: str) -> str:
    given = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(
        given, env={**os.environ, **known_by}, capture_output=True, text=True, check=True
    )
    return done.stdout


class _Forwarder(socketserver.ThreadingTCPServer):
    daemon_threads, block_on_close, allow_reuse_address = True, False, True
    target: tuple[str, int]


class _Handler(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target) as other:
            back = Thread(target=_copy, args=(other, self.request), daemon=True)
            back.start()
            _copy(self.request, other)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # a node that was killed
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def forwarded(endpoint: str, gateway: str) -> Iterator[str]:
    """The URL by which nodes reach an S3 that listens on this machine's loopback."""
    target = urlsplit(endpoint)
    with _Forwarder((gateway, 0), _Handler) as server:
        server.target = (str(target.hostname), int(target.port or 80))
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_address[1]}"
        server.shutdown()
