"""A user's own pipelines, jobs and shardrank lie in the way of no worker."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import World, latest, make_world

pytestmark = pytest.mark.ray

COMMAND = "from shardrank.jobs.cli import main; main()"
SETS = ("cluster.executor=ray", "cluster.cpus=1", "cluster.object_store_mb=100")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> World:
    return make_world(tmp_path_factory.mktemp("world"), models, documents=5, queries=1)


def with_packages(folder: Path) -> Path:
    """A folder in which packages of a user's note that they are imported, and refuse."""
    for name in ("pipelines", "jobs"):
        (folder / name).mkdir(parents=True)
        source = f"open({str(folder / 'imported')!r}, 'w')\nraise ImportError('this is {name}')\n"
        (folder / name / "__init__.py").write_text(source)
    return folder


def submitted(folder: Path) -> dict[str, str]:
    """What `ray job submit --working-dir` tells a job's driver."""
    return {
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"working_dir": str(folder)}})
    }


@pytest.mark.parametrize("as_job", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_user_may_have_packages_of_these_names(
    world: World, tmp_path: Path, as_job: bool
) -> None:
    """In the working directory, which workers look through first, and on PYTHONPATH; as a job's,
    the packages are in its working_dir. The index lies in a folder shardrank."""
    here, there = with_packages(tmp_path / "here"), with_packages(tmp_path / "there")
    path = os.pathsep.join(filter(None, [str(there), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | (submitted(here) if as_job else {})
    index = here / "shardrank" / "index"
    index.mkdir(parents=True)
    words = world.index(index, *SETS)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(latest(index).parts) == 1
    assert not list(tmp_path.glob("*/imported"))
