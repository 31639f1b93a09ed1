"""The package's name: what is imported under it, and what a wheel installs."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]


def python(code: str, folder: Path) -> str:
    """What the code prints, run with `folder` as the working directory."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def test_folders_of_our_names_are_passed_over(tmp_path: Path) -> None:
    """As beside a checkout, or where an index lies in shardrank/index. This fails after a mere
    `pip install -e`: make puts the package on the path as well."""
    for name in PACKAGES:
        (tmp_path / name.replace(".", "/")).mkdir(parents=True)
    code = (
        "from importlib.util import find_spec\n"
        f"print([name for name in {PACKAGES} if find_spec(name).origin is None])"
    )
    assert python(code, tmp_path).strip() == "[]"


def builds_wheels() -> bool:
    """Whether setuptools is here, and as new as pyproject.toml asks for."""
    least = PROJECT["build-system"]["requires"][0].removeprefix("setuptools>=")
    try:
        return int(version("setuptools").split(".")[0]) >= int(least)
    except PackageNotFoundError:
        return False


def wanted() -> set[str]:
    """Every module, and the files that are read beside them, by their names in a wheel."""
    homes = {ROOT / "pipelines": "shardrank", ROOT / "jobs": "shardrank/jobs"}
    return {
        f"{home}/{path.relative_to(folder)}"
        for folder, home in homes.items()
        for path in folder.rglob("*.*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.skipif(not builds_wheels(), reason="needs the setuptools of pyproject.toml")
def test_a_wheel_holds_every_file_under_our_name_alone(tmp_path: Path) -> None:
    unmade = shutil.ignore_patterns("__pycache__")
    for folder in ("pipelines", "jobs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=unmade)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path)
    python("from setuptools.build_meta import build_wheel; build_wheel('made')", tmp_path)
    (wheel,) = (tmp_path / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as made:
        found = {name for name in made.namelist() if ".dist-info/" not in name}
    assert found == wanted()
    assert "shardrank/models/shipped/reranker/adapter.safetensors" in found
