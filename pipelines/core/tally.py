"""What this process spends, by name: added up where it is spent, taken out by who tells of it.

A process works for one unit at a time, or for units of one stage beside each other: what is taken
out after a unit belongs to its stage.
"""

from collections.abc import Mapping
from threading import Lock

#: Sums by name: "tokens" that a model read, and inputs "truncated" to fit it; by storage (local,
#: s3) "read", "written" (bytes) and "retries" (requests sent again); by worker (task, cpu, gpu)
#: "busy", "wait" and "load" (seconds).
#: What stands behind a colon is the storage or the worker: `read:s3`.
Spent = Mapping[str, float]

_sums: dict[str, float] = {}
_lock = Lock()


def spend(name: str, amount: float) -> None:
    """So much more of it."""
    with _lock:
        _sums[name] = _sums.get(name, 0) + amount


def take() -> Spent:
    """All that was spent since it was last taken."""
    with _lock:
        taken = dict(_sums)
        _sums.clear()
    return taken


def together(one: Spent, other: Spent) -> Spent:
    """The sums of both."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
