"""How far a unit is, told from the loops inside it to whoever runs it.

A loop that takes minutes calls `tell` now and then. Who runs the unit listens; where nobody does,
nothing happens. The listener is the thread's own, so units beside each other are told apart.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Is told the share of the unit that is done, 0 to 1.
Listener = Callable[[float], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """While the context lasts, `listener` hears what this thread tells."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(share: float) -> None:
    """So much of the unit at hand is done."""
    listener = _listener.get()
    if listener is not None:
        listener(share)
