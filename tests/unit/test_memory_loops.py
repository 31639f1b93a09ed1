"""Loops that read texts by their addresses never read beyond a page that may be the last."""

import ctypes
import hashlib
import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from shardrank.corpus.key_order import by_hash
from shardrank.kernels.line_loops import are_ascii, count_ends, find_lines
from shardrank.kernels.memory import BEHIND
from shardrank.kernels.row_loops import join_contents, move_texts, write_hex
from shardrank.kernels.sha256 import sha256_all

_PAGE = mmap.PAGESIZE
UInt8 = npt.NDArray[np.uint8]


@pytest.fixture
def page() -> Iterator[UInt8]:
    """uint8[PAGE] behind which nothing can be read."""
    memory = mmap.mmap(-1, 2 * _PAGE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    after = ctypes.c_void_p(whole.ctypes.data + _PAGE)
    assert libc.mprotect(after, ctypes.c_size_t(_PAGE), 0) == 0
    yield whole[:_PAGE]
    assert libc.mprotect(after, ctypes.c_size_t(_PAGE), mmap.PROT_READ | mmap.PROT_WRITE) == 0


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 128, 200])
def test_texts_at_the_end_of_memory(page: UInt8, size: int) -> None:
    text = np.random.default_rng(size).integers(1, 256, size, dtype=np.uint8)
    page[_PAGE - size :] = text
    ends = np.array([page.ctypes.data + _PAGE])
    begins = ends - size
    digest = sha256_all(begins, ends)[0].astype(">u4").tobytes()
    assert digest == hashlib.sha256(text.tobytes()).digest()
    out = np.zeros(3 * size + BEHIND + 1, np.uint8)
    move_texts(begins, ends, out)
    assert out[:size].tobytes() == text.tobytes()
    good, odd, places = np.ones(1, np.bool_), np.empty(1, np.bool_), np.empty((2, 1), np.int64)
    join_contents(begins, ends, begins, ends, good, out, *places, odd)
    assert odd[0] == (size > 0 and text.max() > 127)
    assert good[0]
    joined = ctypes.string_at(int(places[0, 0]), int(places[1, 0] - places[0, 0]))
    assert joined == text.tobytes() + b"\0" + text.tobytes()


@pytest.mark.parametrize("seed", range(20))
def test_lines_and_bytes_beyond_ascii(seed: int) -> None:
    draw = np.random.default_rng(seed)
    data = draw.choice(np.frombuffer(b"\n\nab \r", np.uint8), draw.integers(1, 300))
    held = np.concatenate([data, np.full(BEHIND, ord("\n"), np.uint8)])
    whole = data.tobytes()
    begins, ends = np.empty((2, count_ends(held, len(data)) + 1), np.int64)
    found = find_lines(held, len(data), begins, ends)
    lines = [whole[b:e] for b, e in zip(begins[:found], ends[:found], strict=True)]
    assert lines == whole.removesuffix(b"\n").split(b"\n")
    assert are_ascii(data)
    data[draw.integers(len(data))] |= 0x80
    assert not are_ascii(data)


def test_hex_digits() -> None:
    words = np.random.default_rng(0).integers(0, 1 << 32, (500, 8), dtype=np.uint32)
    out = np.empty((500, 4), np.uint64)
    write_hex(words, out)
    wanted = [row[:4].astype(">u4").tobytes().hex().encode() for row in words]
    assert [row.tobytes() for row in out] == wanted


def test_keys_in_chunks_are_ordered_as_arrow_orders_them() -> None:
    draw = np.random.default_rng(1)
    chunks = [
        pa.table(
            {
                "id_hash": pa.array(draw.integers(0, 40, rows, np.uint64)),
                "doc_id": [f"d{n}" * int(draw.integers(0, 4)) for n in range(rows)],
                "order": [""] * rows,
            }
        )
        for rows in (30, 1, 80)
    ]
    keys = pa.concat_tables([*chunks, chunks[0].slice(7, 9), chunks[0].slice(0, 0)])
    order = [("id_hash", "ascending"), ("doc_id", "ascending")]
    assert by_hash(keys, ("doc_id",)).equals(keys.sort_by(order))
