"""What a real Prometheus sees of a run on a real Ray, and of the nights after it."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.watched import Prometheus, absent, alerts_ever, alerts_of, ray_head, watching
from tests.world import World, make_world, tiny_models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(absent()), reason=f"absent: {', '.join(absent())}"),
]
CALL = "from shardrank.jobs.cli import main; main()"
#: Seconds within which Ray has told, and Prometheus has fetched.
SOON = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    models = tiny_models(tmp_path_factory.mktemp("models"))
    return make_world(tmp_path_factory.mktemp("world"), models, documents=400, queries=5)


def shardrank(*words: str, **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CALL, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return]


def until(seen: Callable[[], bool]) -> None:
    """Wait for what must be seen soon."""
    end = time.monotonic() + SOON
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_run_on_ray(world: World, tmp_path: Path) -> None:
    """Counters of the driver stay when it is gone, and agree with what the run says of itself."""
    index = tmp_path / "index"
    with ray_head() as head, watching(tmp_path / "watched", head.metrics) as prometheus:
        on_ray = (
            "cluster.executor=ray",
            f"cluster.address={head.address}",
            "passages.part_size=64",
        )
        done = shardrank(*world.index(index, *on_ray), env=head.variables)
        assert done.returncode == 0, done.stderr
        until(lambda: bool(prometheus.ask("ray_shardrank_runs_total")))
        units = prometheus.values('ray_shardrank_units_total{state="done"}', "stage")
        rows = prometheus.values("ray_shardrank_rows_total", "stage")
        marked = {
            stage.name: len(list(stage.glob("*[0-9a-f].json")))
            for stage in (index / "units").iterdir()
        }
        assert units == marked
        assert rows["embed"] == 400
        seen = "max_over_time(ray_shardrank_stage_units{state='done'}[10m])"
        assert prometheus.values(seen, "stage")["embed"] == units["embed"]
        assert prometheus.values("ray_shardrank_runs_total", "ending") == {"published": 1}
        assert prometheus.values("ray_shardrank_tokens_total", "stage")["embed"] > 400
        written = prometheus.values("ray_shardrank_storage_written_bytes_total", "stage")
        assert written["embed"] > 400 * 16 * 2
        busy = prometheus.values("ray_shardrank_worker_busy_seconds_total", "stage")
        assert busy.keys() >= units.keys()
        assert alerts_of(prometheus) == set()


def told(prometheus: Prometheus, index: Path) -> None:
    done = shardrank("status", str(index), "--prometheus")
    assert done.returncode == 0, done.stderr
    prometheus.tell("index", done.stdout)


def test_nights(world: World, tmp_path: Path) -> None:
    """A good night, one that a gate refuses, a good one, and one that never comes."""
    index, night = tmp_path / "index", 40.0
    ok = ("passages.part_size=64",)
    with watching(tmp_path / "watched", night=night) as prometheus:
        root = str(index)
        assert shardrank(*world.index(index, *ok)).returncode == 0
        told(prometheus, index)
        until(lambda: prometheus.values("shardrank_version", "path") == {root: 1})
        assert alerts_of(prometheus) == set()
        refused = world.index(index, *ok, "gate.max_deleted=0.1")
        refused[1] = world.queries  # other ids: all documents would be gone
        assert shardrank(*refused).returncode == 3
        told(prometheus, index)
        until(lambda: ("ShardrankVersionRefused", root) in alerts_of(prometheus))
        assert shardrank(*world.index(index, *ok)).returncode == 0
        told(prometheus, index)
        until(lambda: ("ShardrankVersionRefused", root) not in alerts_of(prometheus))
        until(lambda: ("ShardrankNightMissed", root) in alerts_of(prometheus))
        assert {name for name, _ in alerts_ever(prometheus)} <= {
            "ShardrankVersionRefused",
            "ShardrankNightMissed",
            "ShardrankStatusStale",  # of a night of seconds
        }
