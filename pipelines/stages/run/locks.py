"""One writer at a time on an INDEX, an OUT or a LABELS."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from shardrank.core.errors import CommitConflict
from shardrank.stages.run.workspace import Workspace

#: Seconds between two looks whether a lock is free.
LOOK_EVERY = 3.0


@contextmanager
def held(workspace: Workspace, key: str, wait: Callable[[str], None] | None) -> Iterator[bool]:
    """Hold a lock while the context lasts; whether it was waited for, since when what is known may
    be old.

    Args:
        workspace: what is locked.
        key: the lock's name in it.
        wait: where another holds it, wait, and tell this once for whom; None: refuse.

    Raises:
        CommitConflict: another holds it.
    """
    with ExitStack() as stack:
        yield _take(stack, workspace, key, wait)


def _take(
    stack: ExitStack, workspace: Workspace, key: str, wait: Callable[[str], None] | None
) -> bool:
    told = False
    while True:
        try:
            stack.enter_context(workspace.storage.lock(key))
            return told
        except CommitConflict as error:
            if wait is None:
                raise
            if not told:
                wait(f"Waiting: {error.message}")
            told = True
            time.sleep(LOOK_EVERY)
