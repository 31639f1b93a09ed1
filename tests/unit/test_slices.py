import io
import json
import random
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import Slice, plan_slices, source_format


def opener(data: bytes) -> SourceOpener:
    def open_it(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    return open_it


def plan(data: bytes, name: str, slice_bytes: int) -> list[Slice]:
    return plan_slices([Entry(name, len(data), "v1")], opener(data), slice_bytes)


def rows(data: bytes, name: str, slice_bytes: int) -> list[SourceRow]:
    pieces = plan(data, name, slice_bytes)
    return [row for piece in pieces for row in read_slice(piece, opener(data), CorpusSettings())]


def parquet(table: pa.Table, group_rows: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group_rows)
    return sink.getvalue()


LINE = st.one_of(
    st.just(b""),
    st.just(b"  "),
    st.just(b"{broken"),
    st.text(st.sampled_from("aé漢😀\u2028\x85 "), max_size=8).map(
        lambda text: json.dumps({"_id": "x", "text": text}, ensure_ascii=False).encode()
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(LINE, max_size=12),
    newline=st.sampled_from([b"\n", b"\r\n"]),
    trailing=st.booleans(),
    slice_bytes=st.integers(1, 120),
)
def test_slices_of_lines_hold_each_line_once(
    lines: list[bytes], newline: bytes, trailing: bool, slice_bytes: int
) -> None:
    lines = [b'{"_id": "0", "text": ""}', *lines]
    data = newline.join(lines) + (newline if trailing else b"")
    offsets = [sum(len(line) + len(newline) for line in lines[:n]) for n in range(len(lines))]
    expected = [at for at, line in zip(offsets, lines, strict=True) if line.strip()]
    found = rows(data, "a.jsonl", slice_bytes)
    assert [row.row for row in found] == expected
    assert found == rows(data, "a.jsonl", 1 << 30)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 40), group_rows=st.integers(1, 15), slice_bytes=st.integers(1, 3000))
def test_slices_of_columns_hold_each_row_once(
    count: int, group_rows: int, slice_bytes: int
) -> None:
    table = pa.table({"_id": [f"d{n}" for n in range(count)], "text": ["t"] * count})
    found = rows(parquet(table, group_rows), "a.parquet", slice_bytes)
    assert [(row.row, row.doc_id) for row in found] == [(n, f"d{n}") for n in range(count)]


def test_row_groups_stay_whole_where_they_are_small() -> None:
    table = pa.table({"_id": [f"{n:02}" for n in range(100)], "text": ["x" * 50] * 100})
    data = parquet(table, 10)
    size = pq.read_metadata(io.BytesIO(data)).row_group(0).total_byte_size
    cuts = [(piece.start, piece.end) for piece in plan(data, "a.parquet", 3 * size + 20)]
    assert cuts == [(0, 30), (30, 60), (60, 90), (90, 100)]


class Counting(io.BytesIO):
    """A file that counts the bytes that are read of it."""

    bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counting.bytes += len(data)
        return data


@settings(max_examples=25, deadline=None)
@given(
    groups=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    slice_bytes=st.sampled_from([1, 100_000, 1_000_000, 64 << 20]),
)
def test_slices_of_columns_read_each_byte_once(groups: list[int], slice_bytes: int) -> None:
    rng, sink = random.Random(len(groups)), io.BytesIO()
    schema = pa.schema([("_id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(sink, schema, compression="none") as writer:
        for group, rows in enumerate(groups):
            ids = [f"{group}-{n}" for n in range(rows)]
            texts = [rng.randbytes(1000).hex() for _ in range(rows)]
            writer.write_table(pa.table([ids, texts], schema=schema))
    data, Counting.bytes = sink.getvalue(), 0
    pieces = plan_slices(
        [Entry("a.parquet", len(data), "v")], lambda uri, version=None: Counting(data), slice_bytes
    )
    assert len(pieces) <= sum(map(bool, groups))
    columns = CorpusSettings(slice_bytes=slice_bytes)
    opener = lambda uri, version=None: Counting(data)  # noqa: E731
    found = [row for piece in pieces for row in read_slice(piece, opener, columns)]
    assert [row.doc_id for row in found] == [
        f"{g}-{n}" for g, c in enumerate(groups) for n in range(c)
    ]
    tails = 0x10000 * (len(pieces) + 1)  # what pyarrow reads at first of a file's end
    assert Counting.bytes <= 1.1 * len(data) + tails


def test_a_row_group_larger_than_a_slice_is_not_held_whole() -> None:
    texts = [random.Random(n).randbytes(100_000).hex() for n in range(400)]  # 80 MB
    table, sink = pa.table({"_id": [str(n) for n in range(400)], "text": texts}), io.BytesIO()
    pq.write_table(table, sink, write_batch_size=10)  # a page is checked after so many rows
    data = sink.getvalue()
    columns = CorpusSettings(slice_bytes=1 << 20)
    [piece] = plan(data, "a.parquet", columns.slice_bytes)
    before = peak = pa.total_allocated_bytes()
    for _ in read_slice(piece, opener(data), columns):
        peak = max(peak, pa.total_allocated_bytes())
    assert peak - before < 40 << 20


def test_compressed_lines_are_not_cut() -> None:
    assert [(p.start, p.end, p.compression) for p in plan(b"12345", "a.JSON.gz", 1)] == [
        (0, 5, "gzip")
    ]


def test_an_empty_file_has_no_slices() -> None:
    assert plan(b"", "a.jsonl", 10) == plan(b"", "a.jsonl.zst", 10) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", ("parquet", "")),
        ("s3://b/a.NDJSON", ("jsonl", "")),
        ("a.jsonl.zst", ("jsonl", "zstd")),
    ],
)
def test_formats(name: str, expected: tuple[str, str]) -> None:
    assert source_format(name) == expected


@pytest.mark.parametrize("name", ["a.csv", "a.parquet.gz", "jsonl", "a.jsonl.bz2"])
def test_unknown_formats(name: str) -> None:
    with pytest.raises(InputError, match="by its name"):
        source_format(name)


def test_what_is_no_parquet_is_named() -> None:
    with pytest.raises(InputError, match=r"a\.parquet is damaged"):
        plan(b"PAR1 but no more than that", "a.parquet", 10)
