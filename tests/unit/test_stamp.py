"""A local source's version is another where its content is, whatever its times and size say."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.settings import S3Settings
from shardrank.storage import Sources
from shardrank.storage.stamp import WHOLE_BYTES, _sampled, source_entry

LARGE = 3 * WHOLE_BYTES
TICK = 0.02  # the kernel's clock moves every 1 to 10 ms


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes in place, under the times of those before."""
    before = path.stat()
    time.sleep(TICK)
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("at", [0, LARGE // 2, LARGE - 1, WHOLE_BYTES // 16 + 1])
def test_same_size_and_time(tmp_path: Path, at: int) -> None:
    """The last place lies in no sample."""
    path, data = tmp_path / "a.jsonl", bytearray(LARGE)
    path.write_bytes(data)
    [before] = Sources(S3Settings()).list(str(path))
    data[at] = 1
    rewrite(path, data)
    [after] = Sources(S3Settings()).list(str(path))
    assert after.version != before.version
    assert (after.bytes, after.modified) == (before.bytes, before.modified)


def digest(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with path.open("rb") as file:
        return _sampled(file.fileno(), len(data))


@settings(max_examples=30, deadline=None)
@given(size=st.integers(0, 40), place=st.floats(0, 1, exclude_max=True))
def test_a_small_file_is_looked_at_whole(
    tmp_path_factory: pytest.TempPathFactory, size: int, place: float
) -> None:
    path, data = tmp_path_factory.getbasetemp() / "small", bytearray(size * WHOLE_BYTES // 40)
    before = digest(path, data)
    if data:
        data[int(place * len(data))] = 1
        assert digest(path, data) != before
    assert digest(path, data) == digest(path, data)


@pytest.mark.parametrize("size", [WHOLE_BYTES + 1, LARGE, 5 * WHOLE_BYTES + 7])
def test_begin_and_end_of_a_large_file_are_looked_at(tmp_path: Path, size: int) -> None:
    found = set()
    for at in (0, size // 3, size - 1, size - WHOLE_BYTES // 16):
        data = bytearray(size)
        data[at] = 1
        found.add(digest(tmp_path / "large", data))
    assert len(found) >= 3


def test_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}")
    first = source_entry(path, "a")
    time.sleep(TICK)
    path.read_bytes()
    assert source_entry(path, "a") == first
