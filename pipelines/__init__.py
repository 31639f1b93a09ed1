"""shardrank: batch indexing and reranking of large document stores on Ray."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardrank.api import (
        Outcome,
        Settings,
        Silent,
        StageNow,
        compare,
        evaluate,
        index,
        label,
        open_index,
        rank,
        read_rankings,
        tune,
    )

__all__ = [
    "Outcome",
    "Settings",
    "Silent",
    "StageNow",
    "compare",
    "evaluate",
    "index",
    "label",
    "open_index",
    "rank",
    "read_rankings",
    "tune",
]
__version__ = "0.1.0"

# A folder has the name of a function. It is imported first, so that no later import of what is in
# it puts the folder in the function's place.
import_module("shardrank.index")
del globals()["index"]


def __getattr__(name: str) -> Any:
    """Loads the functions when they are first asked for: workers import this package too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("shardrank.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
