"""Files whose bytes are another format than their names say."""

import bz2
import gzip
import io
import json
import lzma
import pickle
from collections.abc import Callable
from typing import BinaryIO

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.first_pass import scan_slice
from shardrank.corpus.queries import read_queries
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import Slice, plan_slices

ROWS = [{"_id": str(n), "text": f"words of {n}"} for n in range(50)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
PLAIN = LINES.encode()


TABLE = pa.Table.from_pylist(ROWS)


def written(writer: Callable[..., object], table: pa.Table = TABLE) -> bytes:
    sink = io.BytesIO()
    writer(table, sink)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def opener(data: bytes) -> SourceOpener:
    def open_it(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    return open_it


WRONG = [
    ("a.jsonl", gzip.compress(PLAIN, mtime=0), "gzip"),
    ("a.jsonl", zstd(PLAIN), "zstd"),
    ("a.jsonl", bz2.compress(PLAIN), "bzip2"),
    ("a.jsonl", lzma.compress(PLAIN), "xz"),
    ("a.json", written(pq.write_table), "Parquet"),
    ("a.jsonl", written(pa.feather.write_feather), "Arrow IPC"),
    ("a.jsonl", written(pa.orc.write_table), "ORC"),
    ("a.jsonl", LINES.encode("utf-16"), "UTF-16"),
    ("a.jsonl", LINES.encode("utf-16-le"), "UTF-16"),
    ("a.jsonl", LINES.encode("utf-16-be"), "UTF-16"),
    ("a.jsonl", LINES.encode("utf-32"), "UTF-32"),
    ("a.jsonl", PLAIN.replace(b"\n", b"\r"), "lines that end in CR alone"),
    ("a.jsonl", json.dumps(ROWS).encode(), "a JSON array"),
    ("a.jsonl", b"\xef\xbb\xbf" + json.dumps(ROWS, indent=1).encode(), "a JSON array"),
    ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs"),
    ("a.jsonl.gz", zstd(PLAIN), "zstd"),
    ("a.jsonl.zst", gzip.compress(PLAIN, mtime=0), "gzip"),
    ("a.jsonl.gz", PLAIN, "JSON, not compressed"),
    ("a.jsonl.gz", gzip.compress(gzip.compress(PLAIN, mtime=0), mtime=0), "gzip"),
    ("a.jsonl.gz", gzip.compress(LINES.encode("utf-16"), mtime=0), "UTF-16"),
    ("a.jsonl.zst", zstd(written(pq.write_table)), "Parquet"),
    ("a.jsonl.zst", zstd(json.dumps(ROWS).encode()), "a JSON array"),
    ("a.parquet", gzip.compress(PLAIN, mtime=0), "gzip"),
    ("a.pq", written(pa.orc.write_table), "ORC"),
]


@pytest.mark.parametrize(("name", "data", "what"), WRONG)
def test_another_format_is_refused_when_slices_are_planned(
    name: str, data: bytes, what: str
) -> None:
    with pytest.raises(InputError, match=f"{name} is not what its name says.*{what}") as refused:
        plan_slices([Entry(f"/data/{name}", len(data), "v")], opener(data), 1000)
    assert refused.value.hint


@pytest.mark.parametrize(("name", "data", "what"), [w for w in WRONG if "jsonl" in w[0]])
def test_in_s3_who_reads_the_first_slice_looks(name: str, data: bytes, what: str) -> None:
    uri = f"s3://bucket/{name}"
    pieces = plan_slices([Entry(uri, len(data), "v")], opener(data), 1 << 20)
    with pytest.raises(InputError, match=f"its first bytes look like .*{what}"):
        list(read_slice(pieces[0], opener(data), CorpusSettings()))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("\n".join(json.dumps(row, indent=2) for row in ROWS).encode(), "over several lines"),
        (b"id,text\n1,some words\n", "begins with 'id,text"),
        (b"<html>\n<body>\n", "begins with '<html>"),
        (b"\0\0\0\0\0\0\0\0\n\0\0\0\0", r"begins with '\\x00"),
        (pickle.dumps(ROWS), "begins with"),
        (b'"a line"\n5\nnull\n', "begins with"),
    ],
)
def test_a_file_without_a_readable_row(data: bytes, what: str) -> None:
    """Known from its rows: a bad first line alone is a bad row."""
    entry = Entry("/data/a.jsonl", len(data), "v")
    [piece] = plan_slices([entry], opener(data), 1 << 20)
    found = scan_slice(piece, opener(data), CorpusSettings())
    assert 0 < found.rows == found.unreadable
    with pytest.raises(InputError, match=rf"not one of its {found.rows} rows.*{what}"):
        read_queries([entry], opener(data), CorpusSettings())


@given(st.lists(st.sampled_from([b"{", b"\xff", b"[1]", b'{"_id": "a"}', b" "]), max_size=6))
def test_unreadable_rows_are_counted(lines: list[bytes]) -> None:
    data = b'{"_id": "0", "text": "x"}\n' + b"\n".join(lines)
    piece = Slice("/data/a.jsonl", "v", "jsonl", "", 0, len(data))
    found = scan_slice(piece, opener(data), CorpusSettings())
    assert found.unreadable == sum(line in (b"{", b"\xff", b"[1]") for line in lines)


def test_a_bad_first_line_is_a_bad_row() -> None:
    for bad in (b"<html>\n", b"\0\0\0\0\n", b"Obj\n", b"{\n", b"\r\n\r{\r\n"):
        data = bad + PLAIN
        [piece] = plan_slices([Entry("/data/a.jsonl", len(data), "v")], opener(data), 1 << 20)
        found = scan_slice(piece, opener(data), CorpusSettings())
        assert (found.keys.num_rows, found.unreadable) == (len(ROWS), found.rows - len(ROWS))


def test_parquet_of_other_bytes_than_utf8() -> None:
    latin = pa.array(["é".encode("latin-1")] * 3, pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, latin.buffers())
    data = written(pq.write_table, pa.table({"_id": ["a", "b", "c"], "text": text}))
    entry = Entry("/data/a.parquet", len(data), "v")
    with pytest.raises(InputError, match="not one of its 3 rows: no text of it is UTF-8"):
        read_queries([entry], opener(data), CorpusSettings())


def test_names_of_many_columns() -> None:
    rows = [{"_id": str(n), "text": "x", f"c{n:03}": 1} for n in range(300)]
    rows[250]["gone"] = False
    rows[7]["\ud800"] = 1
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    piece = Slice("/data/a.jsonl", "v", "jsonl", "", 0, len(data))
    names = scan_slice(piece, opener(data), CorpusSettings(tombstone="gone")).names
    assert len(names) == 101
    assert {"_id", "text", "gone", "c000", "\\ud800"} <= set(names)
    json.dumps(names, ensure_ascii=False).encode()
