"""What a batch frees is there for the next; what is made for good is not looked through often."""

import ctypes
import gc
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import ref

import pytest
import torch
from safetensors.torch import load_file, save_file

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.python_gc import NEW_OBJECTS, collect_seldom
from shardrank.models.encoders.dense import load_encoder
from shardrank.models.encoders.embedder import TransformerEmbedder
from shardrank.models.forward.memory import give_back_freed_memory, keep_freed_memory
from shardrank.models.forward.network import Network
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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc's")
def test_freed_memory_goes_back_when_asked() -> None:
    keep_freed_memory()
    kept = _resident(give_back_freed_memory)
    blocks = [torch.ones(1 << 20) for _ in range(20)]  # of 4 MB
    blocks.clear()
    held = _resident(lambda: None)
    assert _resident(give_back_freed_memory) < held - (40 << 20)
    assert held > kept + (40 << 20)


def _resident(act: Callable[[], None]) -> int:
    """Bytes of this process in memory after it."""
    act()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def test_threads_hold_one_network_and_let_it_go(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    settings = EncoderSettings(model=str(folder))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: _network(settings), range(2))
    assert first is second
    gone = ref(first)
    del first, second
    gc.collect()
    assert gone() is None


def test_a_folder_written_anew_is_read_anew(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path, "bert")
    settings = EncoderSettings(model=str(folder))
    first = _network(settings)
    weights = folder / "model.safetensors"
    changed = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file(changed, folder / "new", metadata={"format": "pt"})
    (folder / "new").replace(weights)
    assert _network(settings) is not first


def _network(settings: EncoderSettings) -> Network:
    embedder = load_encoder(settings, "cpu")._documents
    assert isinstance(embedder, TransformerEmbedder)
    return embedder.network
