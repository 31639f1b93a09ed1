"""torch without the part that only tensors without memory need, until somebody wants it."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

#: Shapes and types of what operators give, in Python: for the device "meta", and for compiling.
_SHAPES = "torch._meta_registrations"
#: What uses them: it builds models on that device.
_USER = "transformers"


class _Later(Loader):
    """Runs a module when it is first asked for a name (PEP 562). `importlib.util.LazyLoader` would
    run it for its `__file__`, which torch looks at in all modules when it is imported."""

    def __init__(self, real: Loader) -> None:
        self._real, self._lock = real, RLock()

    def exec_module(self, module: ModuleType) -> None:
        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            with self._lock:
                if module.__dict__.pop("__getattr__", None):
                    self._real.exec_module(module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = missing


class _Finder(MetaPathFinder):
    """Finds the shapes as what is run later, and has them run before their user."""

    def __init__(self) -> None:
        self._wanted = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _USER:
            self._wanted = True
            getattr(sys.modules.get(_SHAPES), "wanted", None)
        if self._wanted or fullname != _SHAPES:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


def leave_shapes_out() -> None:
    """Let torch not import them at once in this process: .34 of its 1.2 s of the CPU, and 18 MB
    (torch 2.13). A forward pass that computes something never asks for them."""
    if "torch" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
