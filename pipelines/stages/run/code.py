"""Which code runs here: what a driver and its workers must have in common."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import shardrank
from shardrank import __version__
from shardrank.core.errors import PlanRefused


@dataclass(frozen=True)
class Code:
    """Versions of what a worker must share with its driver, and the sha256 of shardrank's sources:
    two checkouts of one version may differ."""

    python: str
    ray: str
    shardrank: str
    sources: str

    def differs(self, own: "Code") -> str:
        """What is another here than at the driver's, in words; "": nothing is."""
        names = [name for name in ("python", "ray", "shardrank") if self._part(name, own)]
        if names:
            return ", ".join(
                f"{name.capitalize() if name != 'shardrank' else name} {getattr(self, name)} "
                f"instead of {getattr(own, name)}"
                for name in names
            )
        return "" if self.sources == own.sources else "other sources of the same shardrank"

    def _part(self, name: str, own: "Code") -> bool:
        return bool(getattr(self, name) != getattr(own, name))


def refusal_of(driver: Code) -> PlanRefused | None:
    """Why this process must not work for a driver with that code; None: it has the same. Nodes may
    come after all others were asked."""
    if not (differs := own_code().differs(driver)):
        return None
    return PlanRefused(
        f"Node {platform.node()} runs other code: {differs}.",
        "Every node needs the same Python, Ray and shardrank. What the others finished is kept.",
    )


@cache
def own_code() -> Code:
    """That of this process."""
    import ray  # not for those who run without it

    # Ray asks for the same minor version only, and so do we.
    python = ".".join(platform.python_version_tuple()[:2])
    return Code(python, ray.__version__, __version__, _sources())


def _sources() -> str:
    """The start of the sha256 of all modules of the package, by name."""
    found = sha256()
    for root in shardrank.__path__:
        for path in sorted(_modules(root)):
            found.update(f"{os.path.relpath(path, root)}\0".encode())
            found.update(Path(path).read_bytes())
    return found.hexdigest()[:16]


def _modules(root: str) -> Iterator[str]:
    for folder, _, names in os.walk(root, followlinks=True):
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))
