"""What a batch frees is there for the next."""

import ctypes
import resource
from collections.abc import Callable

import pytest
import torch

from pipelines.models.memory import keep_freed_memory

PAGES = 5 * (8 << 20) // 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc's mallopt")
def test_pages_of_a_batch_are_not_cleared_anew_for_the_next() -> None:
    keep_freed_memory()
    for _ in range(3):  # the first gets its pages, the next find their places
        _five_of_8_mb()
    assert _faults(_five_of_8_mb) < PAGES / 10


def _five_of_8_mb() -> None:
    """More than glibc keeps by itself, which is twice the largest that was freed."""
    held = [torch.ones(2 << 20) for _ in range(5)]
    assert len(held) == 5


def _faults(act: Callable[[], None]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    act()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
