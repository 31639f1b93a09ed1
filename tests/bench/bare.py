"""Where shardrank is not installed: the folder pipelines is the package of that name.

Nothing else says so there. Import this first. Some of the modules that are measured name packages
in annotations that such a machine lacks: names stand in for them while these are imported, which
only come to nothing.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

#: Named by what is measured, and not used by it.
NAMED = ("pydantic", "pyarrow", "numba", "llvmlite", "faiss")

if find_spec("shardrank") is None:
    spec = spec_from_file_location("shardrank", Path(__file__).parents[2] / "pipelines/__init__.py")
    assert spec
    assert spec.loader
    sys.modules["shardrank"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["shardrank"])


class _Nothing:
    """Takes part in whatever a module does as it is imported."""

    def __init__(self, *values: Any, **named: Any) -> None:
        """Of anything."""

    def __init_subclass__(cls, **named: Any) -> None:
        """Of any kind."""

    def __call__(self, *values: Any, **named: Any) -> Any:
        return values[0] if len(values) == 1 and callable(values[0]) else _Nothing()

    def __getattr__(self, name: str) -> Any:
        return _Nothing()

    def __class_getitem__(cls, key: Any) -> Any:
        return cls

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _Absent(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing


class _Finder:
    """Finds what is not there (importlib's meta path)."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.split(".")[0] in self._names else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Absent(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


@contextmanager
def named_only() -> Iterator[None]:
    """Meanwhile what is missing of NAMED can be imported."""
    missing = [name for name in NAMED if find_spec(name) is None]
    blocked = {name for name in missing if sys.modules.pop(name, 0) is None}
    finder: Any = _Finder(missing)
    sys.meta_path.append(finder) if not blocked else sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] in missing]:
            del sys.modules[name]
        sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]
