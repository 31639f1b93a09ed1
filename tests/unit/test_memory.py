"""What a batch frees is there for the next."""

import ctypes
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipelines.core.settings import EncoderSettings
from pipelines.models.encoder import load_encoder
from tests.tiny_models import tiny_encoder

PAGES = 5 * (8 << 20) // 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc's mallopt")
def test_pages_of_a_batch_are_not_cleared_anew_for_the_next(tmp_path: Path) -> None:
    load_encoder(EncoderSettings(model=str(tiny_encoder(tmp_path, "bert"))), "cpu")
    for _ in range(3):  # the first gets its pages, the next find their places
        _five_of_8_mb()
    assert _faults(_five_of_8_mb) < PAGES / 10


def _five_of_8_mb() -> None:
    """More than glibc keeps by itself, which is twice the largest that was freed."""
    sum([torch.ones(2 << 20) for _ in range(5)])  # all of them at once, as a list


def _faults(act: Callable[[], None]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    act()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
