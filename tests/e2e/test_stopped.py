"""A run that is told to stop: by the signal of `ray job stop`, Kubernetes, systemd, or Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World, make_world, shardrank

RUN = (sys.executable, "-c", "from shardrank.jobs.cli import main; main()")
#: Seconds from the signal to the end; `ray job stop` kills what takes longer than three.
SOON = 3.0


@pytest.fixture(scope="module")
def world(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=500, queries=2)


def begun(index: Path) -> Iterator[Path]:
    """Units of embed that are finished."""
    return index.glob("units/embed/*.json")


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [(signal.SIGTERM, 143, "Told to stop."), (signal.SIGINT, 130, "Interrupted.")],
)
def test_a_run_that_is_told_to_stop_says_how_far_it_is(
    world: World, tmp_path: Path, told: signal.Signals, code: int, said: str
) -> None:
    index = tmp_path / "index"
    words = world.index(index, "passages.part_size=4", "cluster.executor=inline")
    run = subprocess.Popen([*RUN, *words], stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not any(begun(index)):
        time.sleep(0.01)
    run.send_signal(told)
    signalled = time.monotonic()
    _, log = run.communicate(timeout=60)
    assert run.returncode == code, log
    assert time.monotonic() - signalled < SOON
    [path] = index.glob("runs/*/run.json")
    outcome = json.loads(path.read_text())["outcome"]
    assert (outcome["ending"], outcome["exit_code"]) == ("stopped", code)
    assert outcome["said"].startswith(f"{said} In embed, ")
    assert outcome["said"] in log
    assert "Finished units are kept" in log
    done = len(list(begun(index)))
    assert shardrank(*words) == 0
    assert 0 < done < len(list(begun(index)))
