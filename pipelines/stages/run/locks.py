"""One writer at a time on an INDEX, an OUT or a LABELS."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from shardrank.core.errors import CommitConflict
from shardrank.stages.run.workspace import Workspace

#: Seconds between two looks whether a lock is free.
LOOK_EVERY = 3.0


@contextmanager
def held(workspace: Workspace, key: str, wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold a lock while the context lasts.

    Args:
        workspace: what is locked.
        key: the lock's name in it.
        wait: where another holds it, wait, and tell this once for whom; None: refuse.

    Raises:
        CommitConflict: another holds it.
    """
    with ExitStack() as stack:
        _take(stack, workspace, key, wait)
        yield


def _take(
    stack: ExitStack, workspace: Workspace, key: str, wait: Callable[[str], None] | None
) -> None:
    told = False
    while True:
        try:
            stack.enter_context(workspace.storage.lock(key))
            return
        except CommitConflict as error:
            if wait is None:
                raise
            if not told:
                wait(f"Waiting: {error.message}")
            told = True
            time.sleep(LOOK_EVERY)
