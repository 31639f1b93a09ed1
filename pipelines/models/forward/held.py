"""A network that several workers of a process run is held once.

Inline, a stage has a worker for each thread. A network of ours keeps nothing of what it computes,
so threads can share it: a second one would take the memory of its weights, and the time to read
them, for nothing. It is let go with the last worker that has it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeVar
from weakref import WeakValueDictionary

Network = TypeVar("Network")

_LOCK = Lock()
_HELD: WeakValueDictionary[object, object] = WeakValueDictionary()


def held(make: Callable[[], Network], files: Sequence[Path], how: Sequence[str]) -> Network:
    """The network that `make` builds, or the one that a worker of this process has already.

    Args:
        make: builds it. Two threads never build at once: one waits for the other's.
        files: all that it is read from. One that was replaced since makes another network.
        how: what else decides it, such as its class, type and device.
    """
    key = (tuple(map(_identity, files)), tuple(how))
    with _LOCK:
        found = _HELD.get(key)
        if found is None:
            found = _HELD[key] = make()
    return found  # type: ignore[return-value]


def _identity(file: Path) -> tuple[str, int, int, int]:
    """Its path, and what changes when its content does."""
    status = file.stat()
    return str(file), status.st_ino, status.st_size, status.st_mtime_ns
