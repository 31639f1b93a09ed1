"""Texts read where they lie in Parquet's pages, against pyarrow."""

import ctypes
import io
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry
from shardrank.core.settings import CorpusSettings
from shardrank.corpus import column_batches
from shardrank.corpus.first_pass import scan_slice
from shardrank.corpus.page_header import UnusualPage, read_header
from shardrank.corpus.parquet_pages import can_be_read, read_texts
from shardrank.corpus.slices import plan_slices
from shardrank.kernels.snappy_loops import unpack_snappy
from tests.unit.test_plain_rows import opener, same_as_rows

WRITERS: list[dict[str, Any]] = [
    {},
    {"data_page_version": "2.0"},
    {"compression": "zstd", "use_dictionary": False},
    {"compression": "none", "data_page_version": "2.0", "use_dictionary": False},
    {"compression": "gzip", "data_page_size": 64, "write_batch_size": 4},
    {"compression": "brotli"},
    {"compression": "lz4"},
    {"use_dictionary": False, "data_page_size": 200, "write_batch_size": 4},
    {"dictionary_pagesize_limit": 40, "data_page_size": 100, "write_batch_size": 8},
    {"write_page_checksum": True, "use_dictionary": ["_id"]},
    {"column_encoding": "DELTA_BYTE_ARRAY", "use_dictionary": False},
    {"column_encoding": "DELTA_LENGTH_BYTE_ARRAY", "use_dictionary": False},
]
RARE = ({"compression": "brotli"}, {"compression": "lz4"})

_text = st.one_of(st.none(), st.text(max_size=90), st.sampled_from(["", "a" * 200, "ab " * 50]))


def written(table: pa.Table, writer: dict[str, Any], rows: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows, **writer)
    return sink.getvalue()


@pytest.mark.parametrize("writer", WRITERS, ids=str)
@settings(max_examples=25, deadline=None)
@given(values=st.lists(_text, min_size=1, max_size=120), rows=st.integers(1, 50))
def test_values_are_those_of_pyarrow(
    writer: dict[str, Any], values: list[str | None], rows: int
) -> None:
    values = [value and value.encode("utf-8", "replace").decode() for value in values]
    table = pa.table(
        {
            "_id": pa.array([str(n) for n in range(len(values))]),
            "text": pa.array(values, pa.string()),
        }
    )
    data = written(table, writer, 40)
    footer, names = pq.read_metadata(io.BytesIO(data)), ["_id", "text"]
    if writer in RARE:
        assert not can_be_read(footer, 0, names)
        return
    found: dict[str, list[str | None]] = {name: [] for name in names}
    try:
        for group in range(footer.num_row_groups):
            for texts in read_texts(io.BytesIO(data), footer, group, names, rows):
                for name, column in zip(names, texts, strict=True):
                    found[name] += as_python(column)
    except UnusualPage:
        assert "column_encoding" in writer
        return
    assert found == table.to_pydict()


def as_python(column: Any) -> list[str | None]:
    spans = column.spans
    at = zip(spans.begins.tolist(), spans.ends.tolist(), column.valid.tolist(), strict=True)
    return [string_at(begin, end) if valid else None for begin, end, valid in at]


def string_at(begin: int, end: int) -> str:
    return ctypes.string_at(begin, end - begin).decode()


def feed(rows: int, seed: int) -> pa.Table:
    """Ids, titles and texts of which some are refused, or beyond ASCII."""
    draw = random.Random(seed)
    words = ["a", "é", "あ", " ", "\0", "word", "x" * 70, "\u3000", ""]
    strange = [None, "", " ", "a b", "é"]
    ids = [draw.choice(strange) if n % 9 == 0 else f"d{n}" for n in range(rows)]
    titles, texts = (
        [None if draw.random() < 0.1 else "".join(draw.choices(words, k=5)) for _ in range(rows)]
        for _ in range(2)
    )
    columns = {"_id": ids, "title": titles, "text": texts}
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


@pytest.mark.parametrize("writer", WRITERS, ids=str)
@pytest.mark.parametrize("titled", [True, False])
def test_rows_are_what_python_reads(writer: dict[str, Any], titled: bool) -> None:
    table = feed(400, 1) if titled else feed(400, 1).drop_columns("title")
    assert same_as_rows("a.parquet", written(table, writer, 90), CorpusSettings(), 1) > 100


def test_a_text_that_is_no_utf8_is_left_to_python() -> None:
    raw = [b"a\xff", "é".encode(), b"plain", b"\xc3", b"\xa9 x"] * 8
    text = pa.array(raw, pa.binary()).view(pa.string())
    table = pa.table({"_id": [f"d{n}" for n in range(40)], "text": text})
    assert 8 <= same_as_rows("a.parquet", written(table, {}, 40), CorpusSettings(), 1) < 40


@pytest.mark.parametrize("writer", WRITERS[:2] + WRITERS[8:10], ids=str)
def test_a_damaged_file_is_told_as_pyarrow_tells_it(
    writer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(feed(300, 2), writer, 100)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    draw, sound = random.Random(3), outcome(whole)
    for _ in range(100):
        data = bytearray(whole)
        data[draw.randrange(4, len(data) - footer)] ^= 1 << draw.randrange(8)
        ours = outcome(bytes(data))
        with monkeypatch.context() as patch:
            patch.setattr(column_batches, "can_be_read", lambda *_: False)
            theirs = outcome(bytes(data))
        # pyarrow refuses damaged headers, also where the damage is of what they say for nothing,
        # and reads some whose pages hold more or fewer rows than there are.
        both = ours == theirs or (isinstance(theirs, str) and ours == sound)
        assert both or (isinstance(ours, str) and theirs != sound)


def number(value: int) -> bytes:
    """As Thrift's compact protocol has it."""
    left, found = value << 1, b""
    while left > 127:
        left, found = left >> 7, found + bytes([left & 127 | 128])
    return found + bytes([left])


@pytest.mark.parametrize("said", [0, 1, 63, 2**13, 2**31, 2**45])
def test_pages_hold_as_many_values_as_the_footer_says(said: int) -> None:
    """A page's header is in no checksum."""
    table = pa.table({"_id": [f"d{n}" for n in range(64)], "text": ["some words"] * 64})
    whole = written(table, {"compression": "none", "use_dictionary": False}, 64)
    begin = pq.read_metadata(io.BytesIO(whole)).row_group(0).column(1).data_page_offset
    _, end = read_header(memoryview(whole), begin)
    places = [n for n in range(begin, end) if whole[n : n + 3] == b"\x15" + number(64)]
    wrong = whole[: places[-1]] + b"\x15" + number(said) + whole[places[-1] + 3 :]
    assert isinstance(outcome(whole), list)
    assert "damaged" in outcome(wrong)


@pytest.mark.parametrize(
    "header", [b"\x1c" * 5000, b"\x15\x00\x17" + bytes(20), b"\x15" + b"\xff" * 99]
)
def test_a_header_that_says_nothing_is_none(header: bytes) -> None:
    with pytest.raises(UnusualPage):
        read_header(memoryview(header), 0)


def test_large_row_groups_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are held whole, so only columns of a slice's size are."""
    data = written(feed(400, 1), {}, 400)
    monkeypatch.setattr(column_batches, "page_batches", lambda *_: pytest.fail("held whole"))
    settings = CorpusSettings(slice_bytes=1024)
    [piece] = plan_slices([Entry("a.parquet", len(data), "v")], opener(data), 1024)
    assert scan_slice(piece, opener(data), settings).rows == 400


def outcome(data: bytes) -> Any:
    """The keys and refused rows of a file, or that it is refused."""
    pieces = plan_slices([Entry("a.parquet", len(data), "v")], opener(data), 1)
    try:
        found = [scan_slice(piece, opener(data), CorpusSettings()) for piece in pieces]
    except InputError as error:
        return str(error)
    return [(each.keys.to_pylist(), each.rejected.to_pylist()) for each in found]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_none(data: bytes) -> None:
    try:
        header, end = read_header(memoryview(data), 0)
    except UnusualPage:
        return
    assert end <= len(data)
    assert min(header.stored, header.size, header.values) >= 0


_pieces = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.builds(lambda byte, times: byte * times, st.binary(max_size=5), st.integers(0, 90)),
        st.sampled_from([b"the same words again ", bytes(range(256)), b"x" * 70_000]),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(pieces=_pieces, data=st.data())
def test_snappy_is_decompressed_as_arrow_does(pieces: list[bytes], data: st.DataObject) -> None:
    text, codec = b"".join(pieces), pa.Codec("snappy")
    packed = codec.compress(text, asbytes=True)
    found = unpack_snappy(np.frombuffer(packed, np.uint8), len(text))
    assert found is not None
    assert found.tobytes() == text
    assert unpack_snappy(np.frombuffer(packed, np.uint8), len(text) + 1) is None
    changed = bytearray(packed)
    changed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    got = unpack_snappy(np.frombuffer(bytes(changed), np.uint8), len(text))
    try:
        wanted = codec.decompress(bytes(changed), len(text), asbytes=True)
    except (pa.ArrowException, OSError):
        wanted = None
    assert (got.tobytes() if got is not None else None) == wanted


def test_an_offset_of_four_bytes_and_lengths_that_follow_their_tags() -> None:
    text = bytes(range(250)) * 280
    parts = [b"\xf0\x63" + text[:100], b"\xf4\xe7\x03" + text[100:1100]]
    parts += [b"\xf8\x3f\x9c\x00" + text[1100 : 1100 + 40_000]]
    far = 41_100
    parts += [b"\xff" + far.to_bytes(4, "little"), b"\x0f" + (far + 64).to_bytes(4, "little")]
    wanted = text[:41_100] + text[:64] + text[:4]
    size = bytes([len(wanted) & 0x7F | 0x80, len(wanted) >> 7 & 0x7F | 0x80, len(wanted) >> 14])
    found = unpack_snappy(np.frombuffer(size + b"".join(parts), np.uint8), len(wanted))
    assert found is not None
    assert found.tobytes() == wanted
