"""House rules: imports point down the floors, and each heavy library has one home."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: From the top down. Packages on one line are siblings, which never import each other.
HOUSE = (
    ("jobs",),
    ("api",),
    (
        "flows.index",
        "flows.rank",
        "flows.label",
        "flows.evaluate",
        "flows.compare",
        "flows.tune",
        "flows.compact",
        "flows.upkeep",
        "flows.verify",
        "flows.running",
        "flows.outcomes",
    ),
    ("flows.report", "flows.label_report", "flows.judged_folds"),
    (
        "flows.assemble",
        "flows.index_changes",
        "flows.index_plan",
        "flows.rank_plan",
        "flows.label_plan",
        "flows.judged_lists",
        "flows.options",
    ),
    ("flows.rerankers",),
    (
        "flows.backfill",
        "flows.index_dtype",
        "flows.index_source",
        "flows.following",
        "flows.query_writing",
        "flows.retrievers",
        "flows.tuned",
    ),
    ("flows.tuned_fold",),
    ("stages.index", "stages.rank", "stages.label"),
    ("stages.shared",),
    ("stages.run",),
    ("corpus", "models", "index", "report", "forecast"),
    ("version", "labels", "orders", "storage", "kernels", "pictures"),
    ("core",),
    ("",),
)
FLOORS = {
    f"shardrank.{package}".rstrip("."): floor
    for floor, packages in enumerate(reversed(HOUSE))
    for package in packages
}
HOMES = {
    **dict.fromkeys(("torch", "transformers", "tokenizers", "sentence_transformers"), ("models",)),
    **dict.fromkeys(("fsspec", "s3fs", "boto3", "botocore"), ("storage",)),
    **dict.fromkeys(("numba", "llvmlite"), ("kernels",)),
    "faiss": ("index",),
    "markdown_it": ("corpus",),
    "PIL": ("pictures",),
    "ray": ("stages.run", "jobs"),
}


#: The package itself hands these out when they are asked for; to import it loads nothing of them.
FACE = ("shardrank.api", "shardrank.core.settings", "shardrank.index")


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
    names = {".".join(pieces[:length]) for length in (2, 3)}
    found = max(names & FLOORS.keys(), key=len, default="")
    return found or ("shardrank" if len(pieces) <= 2 else "")  # its version, say


def breaches(source: str, module: str) -> list[str]:
    """What the imports of one module's source do against the rules."""
    mine, found = home(module), []
    if mine not in FLOORS:
        return [f"{module} has no floor"]
    for target in imports(source, module):
        top = target.split(".")[0]
        homes = [f"shardrank.{name}" for name in HOMES.get(top, ())]
        if module == "shardrank.__init__" and target.startswith(FACE):
            continue
        if top == "shardrank":
            theirs = home(target)
            if theirs != mine and FLOORS.get(theirs, 99) >= FLOORS[mine]:
                found.append(f"{module} imports {target}, which is not below it")
        elif top in ("tests", "infra", "pipelines", "jobs"):
            found.append(f"{module} imports {target}, which does not ship under that name")
        elif homes and mine not in homes:
            found.append(f"{module} imports {target}, whose home is {' and '.join(homes)}")
    return found


def modules() -> list[tuple[str, Path]]:
    """By their names in Python: the folder pipelines is the package shardrank."""
    folders = {"shardrank": ROOT / "pipelines", "shardrank.jobs": ROOT / "jobs"}
    return [
        (".".join([package, *path.relative_to(folder).with_suffix("").parts]), path)
        for package, folder in folders.items()
        for path in sorted(folder.glob("**/*.py"))
    ]


def test_pyproject_lists_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = (name.removesuffix(".__init__") for name, p in modules() if p.name == "__init__.py")
    assert listed == sorted(found)


def test_imports_only_point_down() -> None:
    walked = modules()
    assert len(walked) > 20
    found = [b for name, path in walked for b in breaches(path.read_text("utf-8"), name)]
    assert found == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("shardrank.core.units", "import shardrank.storage.local"),
        ("shardrank.core.units", "from shardrank import index"),
        ("shardrank.core.units", "from ..storage import local"),
        ("shardrank.core.__init__", "from ..storage import local"),
        ("shardrank.index.shard", "from shardrank.models.encoders.dense import Encoder"),
        ("shardrank.report.page", "import shardrank.index.shard as shard"),
        ("shardrank.stages.index.embed", "def lazy():\n    from shardrank.flows import index"),
        ("shardrank.flows.rank", "from shardrank.flows.index import index"),
        ("shardrank.flows.report", "from shardrank.flows.rank import rank"),
        ("shardrank.flows.rank", "import shardrank.api"),
        ("shardrank.api", "from shardrank.jobs import console"),
        ("shardrank.core.units", "from shardrank.api import index"),
        ("shardrank.__init__", "from shardrank.flows.rank import rank"),
        ("shardrank.flows.index", "import shardrank.jobs.cli"),
        ("shardrank.novelty.thing", "import json"),
        ("shardrank.core.units", "from pipelines.core import errors"),
        ("shardrank.stages.shared.encode", "import shardrank.stages.rank.search"),
        ("shardrank.stages.shared.encode", "import ray"),
        ("shardrank.index.lists", "import numba"),
        ("shardrank.stages.index.embed", "import torch.nn as nn"),
        ("shardrank.index.shard", "if TYPE_CHECKING:\n    from torch import Tensor"),
        ("shardrank.corpus.parquet_bytes", "def lazy():\n    import tokenizers"),
        ("shardrank.version.recall", "import importlib\nimportlib.import_module('faiss')"),
        ("shardrank.models.encoders.dense", "import faiss"),
        ("shardrank.corpus.readers", "import fsspec.core"),
        ("shardrank.flows.index", "import ray"),
        ("shardrank.storage.local", "class A:\n    def f(self):\n        from ray.data import x"),
        ("shardrank.jobs.cli", "import torch"),
        ("shardrank.jobs.cli", "from tests.unit import conftest"),
    ],
)
def test_the_checker_catches_a_planted_breach(module: str, source: str) -> None:
    assert len(breaches(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("shardrank.core.units", "import json\nfrom shardrank.core.errors import InputError"),
        ("shardrank.core.units", "from . import errors\nfrom .errors import InputError"),
        ("shardrank.storage.local", "from ..core import units\nimport s3fs"),
        ("shardrank.stages.run.sweep", "import ray.data\nfrom shardrank.models import cards"),
        ("shardrank.stages.index.embed", "from shardrank import __version__\nimport torch_like"),
        ("shardrank.jobs.cli", "import ray\nfrom shardrank.flows import index\nimport jobs_like"),
    ],
)
def test_the_checker_lets_the_rules_be_kept(module: str, source: str) -> None:
    assert breaches(source, module) == []


def test_floor_zero_loads_no_heavy_library() -> None:
    names = [name for name, _ in modules() if name.startswith("shardrank.core.")]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & set({list(HOMES)})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_itself_loads_nothing() -> None:
    """Nor does anything below it bring the flows in. Its function index is no folder, whatever was
    imported before."""
    code = (
        "import sys, shardrank\n"
        "ours = lambda: {name for name in sys.modules if name.startswith('shardrank')}\n"
        "assert ours() == {'shardrank', 'shardrank.index'}, ours()\n"
        "import shardrank.stages.run.executors, shardrank.index.blocks\n"
        "assert not [name for name in ours() if 'flows' in name or 'api' in name]\n"
        "assert 'index' in dir(shardrank) and callable(shardrank.index)\n"
        "from shardrank.index.blocks import __name__ as found\n"
        "assert found == 'shardrank.index.blocks' and callable(shardrank.index)\n"
        "print(sorted({'torch', 'transformers', 's3fs', 'ray', 'matplotlib'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_unit_tests_cannot_start_ray() -> None:
    ray = pytest.importorskip("ray")
    with pytest.raises(AssertionError, match="tests/ray"):
        ray.init()


def test_the_driver_imports_neither_torch_nor_s3fs() -> None:
    """Nor does a worker that only reads or writes for a model: each takes a second or a third."""
    code = (
        "import sys, shardrank.jobs.index, shardrank.jobs.rank, shardrank.jobs.label\n"
        "import shardrank.stages.index.embed\n"
        "print(sorted({'torch', 'transformers', 's3fs', 'matplotlib', 'ray'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
