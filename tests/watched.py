"""A real Prometheus, with a node_exporter that reads text files, and a real Ray, each on its own
ports and in its own folders; they end with their context."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

RULES = Path(__file__).parents[1] / "infra" / "grafana" / "alerts.yml"
#: Debian's names.
TOOLS = ("prometheus", "promtool", "prometheus-node-exporter")
#: Seconds until a server must answer.
PATIENCE = 120


def absent() -> list[str]:
    """Of the tools that are needed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@dataclass(frozen=True)
class Prometheus:
    """Its address, and the folder of whose *.prom its node_exporter tells."""

    url: str
    textfiles: Path

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What it answers to a query now: metric and value of each series."""
        return list(_get(f"{self.url}/api/v1/query?query={quote(expression)}")["result"])

    def values(self, expression: str, label: str) -> dict[str, float]:
        """The same, by one label."""
        found = self.ask(expression)
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in found}

    def tell(self, name: str, text: str) -> None:
        """What cron does: write beside, then rename."""
        beside = self.textfiles / f".{name}.tmp"
        beside.write_text(text)
        beside.rename(self.textfiles / f"{name}.prom")


def alerts_of(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Name and path of the alerts that fire now."""
    alerts = _get(f"{prometheus.url}/api/v1/alerts")["alerts"]
    firing = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
    return {(labels["alertname"], labels.get("path", "")) for labels in firing}


def alerts_ever(prometheus: Prometheus, window: str = "1d") -> set[tuple[str, str]]:
    """Name and path of the alerts that fired at any time of a window."""
    found = prometheus.ask(f'max_over_time(ALERTS{{alertstate="firing"}}[{window}])')
    return {(e["metric"]["alertname"], e["metric"].get("path", "")) for e in found}


@contextmanager
def watching(
    folder: Path, ray: int | None = None, night: float | None = None, every: int = 1
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes and judges all the time.

    Args:
        folder: of its data.
        ray: the port of a Ray's metrics.
        night: seconds from one night to the next; default: a day. The alerts are those of
            infra/grafana, with all their times as much shorter.
        every: seconds from one scrape to the next.
    """
    textfiles, exporter, own = folder / "textfiles", free_port(), free_port()
    textfiles.mkdir(parents=True)
    (folder / "alerts.yml").write_text(shortened(RULES.read_text(), night or 86_400.0))
    jobs = {"files": exporter, **({"ray": ray} if ray else {})}
    (folder / "prometheus.yml").write_text(json.dumps(_config(jobs, every)))
    commands = [
        [
            "prometheus-node-exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={textfiles}",
            f"--web.listen-address=127.0.0.1:{exporter}",
        ],
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
    ]
    with ExitStack() as stack:
        for command in commands:
            stack.enter_context(running(command, folder / f"{command[0]}.log"))
        wait_for(f"http://127.0.0.1:{own}/-/ready")
        yield Prometheus(f"http://127.0.0.1:{own}", textfiles)


def shortened(rules: str, night: float) -> str:
    """The alerts for nights so long: days and minutes shrink with the night, to two seconds at
    least."""
    share = night / 86_400.0

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[1]) * {"d": 86_400, "m": 60}[found[2]] * share
        return f"{max(2, round(seconds))}s"

    if share == 1:
        return rules
    rules = rules.replace("> 26 * 3600", f"> {26 * 3600 * share:.1f}")
    rules = rules.replace("> 3600", f"> {max(5.0, 3600 * share):.1f}")
    return re.sub(r"(?<=[\[ ])(\d+)([dm])(?=[\]\n])", shorter, rules)


def _config(jobs: Mapping[str, int], every: int) -> dict[str, Any]:
    """JSON is YAML, too."""
    times = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    return {
        "global": dict.fromkeys(times, f"{every}s"),
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, port in jobs.items()
        ],
    }


@dataclass(frozen=True)
class Head:
    """A Ray that runs: its address, the port of its metrics, and the variables for its jobs."""

    address: str
    metrics: int
    variables: Mapping[str, str]


@contextmanager
def ray_head(cpus: int = 2) -> Iterator[Head]:
    """`ray start --head` by the letter, and nothing of it is left behind."""
    home = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets have short names
    port, metrics = free_port(), free_port()
    variables = {**os.environ, "HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    ports = {
        "--port": port,
        "--metrics-export-port": metrics,
        "--node-manager-port": free_port(),
        "--object-manager-port": free_port(),
        "--ray-client-server-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
        "--dashboard-agent-grpc-port": free_port(),
        "--num-cpus": cpus,
    }
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"),
        f"--temp-dir={home / 'tmp'}",
        *(f"{name}={value}" for name, value in ports.items()),
    ]
    try:
        with running(command, home / "log", variables):
            wait_for(f"http://127.0.0.1:{metrics}/metrics")
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            yield Head(f"127.0.0.1:{port}", metrics, variables)
    except OSError:
        print((home / "log").read_text())
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(
    command: Sequence[str], log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A process, and those that it starts, as long as the context lasts."""
    with log.open("wb") as out:
        started = subprocess.Popen(
            command, stdout=out, stderr=out, env=variables, start_new_session=True
        )
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def wait_for(url: str) -> None:
    """Until a server answers."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urlopen(url, timeout=5).read()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def free_port() -> int:
    """One that nobody listens on now: neither the system's outgoing connections nor Ray's workers
    get ports of this range."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _get(url: str) -> Any:
    return json.loads(urlopen(url, timeout=10).read())["data"]
