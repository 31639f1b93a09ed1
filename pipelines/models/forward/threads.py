"""How many threads torch computes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class _Kept:
    """What the process's owner had torch compute on, while runs in it change that."""

    def __init__(self) -> None:
        self.lock, self.runs, self.count = Lock(), 0, 0


_KEPT = _Kept()


def use_threads(count: int) -> None:
    """How many threads torch computes on in this process, from now on.

    Sums of products are ordered by it, so that workers of one thread each give the same bytes
    however many there are.
    """
    import torch  # a second to import, which who only passes by need not wait for

    with _KEPT.lock:
        _KEPT.count = _KEPT.count or torch.get_num_threads()
        torch.set_num_threads(count)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Afterwards torch computes on as many threads as before; of several at once the last says."""
    with _KEPT.lock:
        _KEPT.runs += 1
    try:
        yield
    finally:
        with _KEPT.lock:
            _KEPT.runs -= 1
            if not _KEPT.runs and _KEPT.count:
                import torch

                torch.set_num_threads(_KEPT.count)
                _KEPT.count = 0
