"""House rules: imports point down the floors, and each heavy library has one home."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: From the top down. Packages on one line are siblings, which never import each other.
HOUSE = (
    ("jobs",),
    ("pipelines.reporting", "pipelines.label_reporting"),
    tuple(
        f"pipelines.{flow}"
        for flow in ("indexing", "ranking", "labelling", "compacting", "upkeep", "verifying")
    ),
    ("pipelines.assembly", "pipelines.night", "pipelines.settling"),
    ("pipelines.stages",),
    tuple(f"pipelines.{p}" for p in ("corpus", "models", "index", "storage", "report")),
    ("pipelines.core",),
    ("pipelines",),
)
FLOORS = {p: floor for floor, packages in enumerate(reversed(HOUSE)) for p in packages}
HOMES = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "sentence_transformers"), "models"),
    **dict.fromkeys(("fsspec", "s3fs", "boto3", "botocore"), "storage"),
    "faiss": "index",
    "ray": "stages",
}


def imports(source: str, module: str) -> Iterator[str]:
    """The dotted name of every import in the source of `module`, lazy and dynamic ones included."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(base, names, level):
                package = module.split(".")[: -level or None] if level else []
                yield from (".".join([*package, *filter(None, [base]), a.name]) for a in names)
            case ast.Call(
                ast.Name(name) | ast.Attribute(attr=name), [ast.Constant(str(target)), *_]
            ) if name in ("import_module", "__import__"):
                yield target


def home(module: str) -> str:
    """The package that a module belongs to, as FLOORS names it; "" where it has no floor."""
    pieces = [piece for piece in module.split(".") if not piece.startswith("__")]
    package = ".".join(pieces[: 2 if pieces[0] == "pipelines" else 1])
    return package if package in FLOORS else ""


def breaches(source: str, module: str) -> list[str]:
    """What the imports of one module's source do against the rules."""
    mine, found = home(module), []
    if not mine:
        return [f"{module} has no floor"]
    for target in imports(source, module):
        top = target.split(".")[0]
        if top in ("pipelines", "jobs"):
            theirs = home(target)
            if theirs != mine and FLOORS.get(theirs, 99) >= FLOORS[mine]:
                found.append(f"{module} imports {target}, which is not below it")
        elif top in ("tests", "infra"):
            found.append(f"{module} imports {target}, which does not ship")
        elif top in HOMES and mine != f"pipelines.{HOMES[top]}" and (top, mine) != ("ray", "jobs"):
            found.append(f"{module} imports {target}, whose home is pipelines.{HOMES[top]}")
    return found


def modules() -> list[tuple[str, Path]]:
    paths = sorted([*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("jobs/**/*.py")])
    return [(".".join(p.relative_to(ROOT).with_suffix("").parts), p) for p in paths]


def test_imports_only_point_down() -> None:
    walked = modules()
    assert len(walked) > 20
    found = [b for name, path in walked for b in breaches(path.read_text("utf-8"), name)]
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipelines.core.units", "import pipelines.storage.local"),
        ("pipelines.core.units", "from pipelines import index"),
        ("pipelines.core.units", "from ..storage import local"),
        ("pipelines.core.__init__", "from ..storage import local"),
        ("pipelines.index.shard", "from pipelines.models.encoder import Encoder"),
        ("pipelines.report.page", "import pipelines.index.shard as shard"),
        ("pipelines.stages.embed", "def lazy():\n    from pipelines import indexing"),
        ("pipelines.ranking", "from pipelines.indexing import index"),
        ("pipelines.ranking", "from pipelines.reporting import write_report"),
        ("pipelines.indexing", "import jobs.cli"),
        ("pipelines.novelty.thing", "import json"),
        ("pipelines.stages.embed", "import torch.nn as nn"),
        ("pipelines.index.shard", "if TYPE_CHECKING:\n    from torch import Tensor"),
        ("pipelines.corpus.parts", "def lazy():\n    import tokenizers"),
        ("pipelines.core.audit", "import importlib\nimportlib.import_module('faiss')"),
        ("pipelines.models.encoder", "import faiss"),
        ("pipelines.corpus.readers", "import fsspec.core"),
        ("pipelines.indexing", "import ray"),
        ("pipelines.storage.local", "class A:\n    def f(self):\n        from ray.data import x"),
        ("jobs.cli", "import torch"),
        ("jobs.cli", "from tests.unit import conftest"),
    ],
)
def test_the_checker_catches_a_planted_breach(module: str, source: str) -> None:
    assert len(breaches(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipelines.core.units", "import json\nfrom pipelines.core.errors import InputError"),
        ("pipelines.core.units", "from . import errors\nfrom .errors import InputError"),
        ("pipelines.storage.local", "from ..core import units\nimport s3fs"),
        ("pipelines.stages.embed", "import ray.data\nfrom pipelines.models import encoder"),
        ("pipelines.stages.embed", "from pipelines import __version__\nimport torchvision_like"),
        ("jobs.cli", "import ray\nfrom pipelines import indexing\nfrom jobs import options"),
    ],
)
def test_the_checker_lets_the_rules_be_kept(module: str, source: str) -> None:
    assert breaches(source, module) == []


def test_floor_zero_loads_no_heavy_library() -> None:
    names = [name for name, _ in modules() if name.startswith("pipelines.core.")]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & set({list(HOMES)})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_unit_tests_cannot_start_ray() -> None:
    ray = pytest.importorskip("ray")
    with pytest.raises(AssertionError, match="tests/ray"):
        ray.init()


def test_the_driver_imports_neither_torch_nor_s3fs() -> None:
    """Nor does a worker that only reads or writes for a model: each takes a second or a third."""
    code = (
        "import sys, jobs.index, jobs.rank, jobs.label, pipelines.stages.embed\n"
        "print(sorted({'torch', 'transformers', 's3fs'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
