"""How often Python looks for garbage that refers to itself."""

import atexit
import gc

#: New objects between two looks. Python's 700 make many of the hundred thousands that torch, ray
#: and numba leave for good, and each looks through those before: measured 2026-11-25, importing
#: `shardrank.jobs.rank` takes 1.0 s without them and 1.35 with, torch .82 and .98.
NEW_OBJECTS = 50_000


def collect_seldom() -> None:
    """Look for it less often in this process, from now on, and not where it ends, which takes
    `shardrank rank` half a second (2026-11-26). Arrays and tables wait for no look."""
    gc.set_threshold(NEW_OBJECTS)
    atexit.register(gc.freeze)
