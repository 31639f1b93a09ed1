"""What a batch frees is there for the next; what is made for good is not looked through often."""

import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.python_gc import NEW_OBJECTS, collect_seldom
from shardrank.models.encoders.dense import load_encoder
from tests.tiny_models import tiny_encoder

PAGES = 5 * (8 << 20) // 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc's mallopt")
def test_pages_of_a_batch_are_not_cleared_anew_for_the_next(tmp_path: Path) -> None:
    load_encoder(EncoderSettings(model=str(tiny_encoder(tmp_path, "bert"))), "cpu")
    # The first gets its pages. Of the next, some may lose a place to another test's leavings and
    # get new pages for it; with memory given back, each would get all of its pages anew.
    assert min(_faults(_five_of_8_mb) for _ in range(10)) < PAGES / 10


def _five_of_8_mb() -> None:
    """More than glibc keeps by itself, which is twice the largest that was freed."""
    sum([torch.ones(2 << 20) for _ in range(5)])  # all of them at once, as a list


def _faults(act: Callable[[], None]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    act()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_what_imports_make_is_seldom_looked_through() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert _looks_while_making(4 * NEW_OBJECTS) <= 4
        gc.set_threshold(700)  # Python's own, which the command line has changed in this process
        assert _looks_while_making(4 * NEW_OBJECTS) > 40
    finally:
        gc.set_threshold(*before)


def _looks_while_making(count: int) -> int:
    """Collections of any generation meanwhile."""
    looks: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        looks.append(phase)

    gc.callbacks.append(note)
    try:
        made: list[list[int]] = [[] for _ in range(count)]
    finally:
        gc.callbacks.remove(note)
    assert len(made) == count
    return looks.count("start")
