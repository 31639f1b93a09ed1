"""What transformers prints while it loads."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class _Hushed:
    """How many load at once, and what transformers was to say before the first of them."""

    def __init__(self) -> None:
        self.lock, self.loads, self.bars, self.level = Lock(), 0, True, 0


_HUSHED = _Hushed()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar and no report in a worker's log; what matters is raised.

    Threads of one process load at once: the first hushes the library, the last lets it speak.
    """
    _hush()
    try:
        yield
    finally:
        _unhush()


def _hush() -> None:
    from transformers.utils import logging  # takes seconds

    with _HUSHED.lock:
        if not _HUSHED.loads:
            _HUSHED.bars, _HUSHED.level = logging.is_progress_bar_enabled(), logging.get_verbosity()
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        _HUSHED.loads += 1


def _unhush() -> None:
    from transformers.utils import logging

    with _HUSHED.lock:
        _HUSHED.loads -= 1
        if not _HUSHED.loads:
            logging.set_verbosity(_HUSHED.level)
            if _HUSHED.bars:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
