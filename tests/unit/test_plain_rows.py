"""Rows read, judged and hashed as bytes, against the same rows as Python reads them."""

import hashlib
import io
import json
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import Entry
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.first_pass import id_hash, scan_slice
from shardrank.corpus.key_order import by_hash
from shardrank.corpus.plain_rows import plain_keys
from shardrank.corpus.reader import read_slice, read_slice_batches
from shardrank.corpus.rows import Scratch
from shardrank.corpus.slices import plan_slices
from shardrank.corpus.validate import Document, Reason, check
from shardrank.kernels.machine import has_sha
from shardrank.kernels.sha256 import sha256_all
from shardrank.kernels.sha256_loops import sha256_in_lanes
from shardrank.kernels.sha256_pairs import sha256_in_pairs

#: Lines that Python's json and ours must not read differently.
LINES = [
    b"",
    b"  \t ",
    b"null",
    b"{}",
    b'{"_id": "a", "text": "x"',
    b'{"_id": "a", "text": "x",}',
    b'{"_id": "a", "text": "x"} x',
    b'{"_id": "a", "text": "x"}\x0c',
    b'{"_id": "a", "text": "x"} \r',
    b'{"_id": "a", "text": "x", "text": "y"}',
    b'{"_id": "a", "text": "tab\there"}',
    b'{"_id": "a", "text": "\\ud83d\\ude00"}',
    b'{"_id": "a", "text": "\\ud83d"}',
    b'{"_id": "a", "text": "\\q"}',
    b'{"_id": "a", "text": "\\u00e9 \\/ \\\\ \\" \\n\\u0041"}',
    b'{"_id": "\\u0061", "title": null, "text": "x"}',
    b'{"_id": "a", "title": "N\\u0000L", "text": "x"}',
    b'{"_id": 12, "text": "x"}',
    b'{"_id": -0, "text": "x"}',
    b'{"_id": 012, "text": "x"}',
    b'{"_id": 1.0, "text": "x"}',
    b'{"_id": 1e3, "text": "x"}',
    b'{"_id": -7, "text": "x"}',
    b'{"_id": "a b", "text": "x"}',
    b'{"_id": "", "text": "x"}',
    b'{"_id": "a", "text": " \\t\xe3\x80\x80\xc2\xa0\xe2\x80\x83"}',
    b'{"_id": "a", "text": "\xe3\x81\x82"}',
    b'{"_id": "\xc3\xa9", "text": "x"}',
    b'{"_id": "a", "text": "x", "meta": {"k": [1, -2.5e-3, true, false, null, {}, []]}}',
    b'{"_id": "a", "text": "x", "meta": [1,]}',
    b'{"_id": "a", "text": "x", "meta": {"k" 1}}',
    b'{"_id": "a", "text": "x", "meta": 01}',
    b'{"_id": "a", "text": "x", "meta": 1.}',
    b'{"_id": "a", "text": "x", "meta": NaN}',
    b'{"_id": "a", "text": "x", "meta": "\\ud800"}',
    b'{"_id": "a", "text": "x", "meta": ' + b"[" * 60 + b"]" * 60 + b"}",
    b'{"_id": "a", "text": "x", "new": 1}',
]
SETTINGS = [
    CorpusSettings(),
    CorpusSettings(max_document_bytes=60, max_id_bytes=4),
    CorpusSettings(tombstone="gone"),
    CorpusSettings(text="title"),
]


DIGESTS = [sha256_all, sha256_in_lanes, *([sha256_in_pairs] if has_sha() else [])]


@pytest.mark.parametrize("digest", DIGESTS)
@settings(deadline=None)
@given(texts=st.lists(st.binary(max_size=300), max_size=40))
def test_digests_are_those_of_hashlib(digest: Any, texts: list[bytes]) -> None:
    data = np.frombuffer(b"".join(texts) + b"?", np.uint8)
    bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64) + data.ctypes.data
    found = digest(bounds[:-1], bounds[1:])
    digests = [row.astype(">u4").tobytes() for row in found]
    assert digests == [hashlib.sha256(text).digest() for text in texts]


def opener(data: bytes) -> Any:
    def opened(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    return opened


def same_as_rows(name: str, data: bytes, settings: CorpusSettings, slice_bytes: int) -> int:
    """How many rows were read as bytes; all that is told of a slice is what its rows say."""
    plain = 0
    for piece in plan_slices([Entry(name, len(data), "v")], opener(data), slice_bytes):
        rows = list(read_slice(piece, opener(data), settings))
        found = scan_slice(piece, opener(data), settings)
        judged = [check(row, settings) for row in rows]
        documents = [each for each in judged if isinstance(each, Document)]
        keys = [
            (id_hash(d.doc_id), d.doc_id, d.row, content_hash(d.title, d.text)) for d in documents
        ]
        told = found.keys.select(["id_hash", "doc_id", "row", "content_hash"]).to_pylist()
        assert [tuple(row.values()) for row in told if row["content_hash"]] == sorted(keys)
        wrong = [
            (row.row, str(reason))
            for row, reason in zip(rows, judged, strict=True)
            if isinstance(reason, Reason)
        ]
        columns = (found.rejected[n].to_pylist() for n in ("row", "reason"))
        assert [*zip(*columns, strict=True)] == wrong
        names = dict.fromkeys(name for row in rows for name in row.names)
        assert found.names == [n.encode("utf-8", "backslashreplace").decode() for n in names]
        batches = read_slice_batches(piece, opener(data), settings)
        plain += sum(int(plain_keys(batch, settings, Scratch())[0].sum()) for batch in batches)
    return plain


@pytest.mark.parametrize("settings", SETTINGS)
def test_lines_say_what_python_reads(settings: CorpusSettings) -> None:
    head = [b'{"_id": "h%d", "title": "t", "text": "x", "meta": 1}' % n for n in range(120)]
    gone = [b'{"_id": "g%d", "gone": %s}' % (n, b"true" if n % 2 else b"1") for n in range(8)]
    data = b"\n".join([*head, *LINES, *gone, *LINES])
    for slice_bytes in (1 << 20, 700):
        same_as_rows("a.jsonl", data, settings, slice_bytes)
    if settings == CorpusSettings():
        assert same_as_rows("a.jsonl", data, settings, 1 << 20) > 20


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
_long = st.text(st.sampled_from('ab"\\\n\té\u3042\U0001f600/ '), max_size=150)
_objects = st.fixed_dictionaries(
    {"_id": st.text("abc1", max_size=4) | st.integers(), "text": _long | st.none()},
    optional={"title": _long | st.none(), "meta": _values, "a key " * 20: _values},
)


@settings(max_examples=150, deadline=None)
@given(
    objects=st.lists(st.tuples(_objects, st.booleans(), st.booleans()), min_size=1, max_size=30),
    slice_bytes=st.integers(200, 4000),
)
def test_objects_of_any_kind(objects: list[Any], slice_bytes: int) -> None:
    lines = [
        json.dumps(dict(reversed(row.items())) if back else row, ensure_ascii=ascii_only)
        for row, ascii_only, back in objects
    ]
    same_as_rows("a.jsonl", "\n".join(lines * 8).encode(), CorpusSettings(), slice_bytes)


def test_a_block_that_is_no_utf8_is_left_to_python() -> None:
    good = [json.dumps({"_id": f"d{n}", "text": "é"}, ensure_ascii=False) for n in range(200)]
    data = "\n".join(good).encode() + b'\n{"_id": "bad", "text": "\xff"}\n'
    assert same_as_rows("a.jsonl", data, CorpusSettings(), 1 << 20) == 0


def test_lines_that_are_too_long_are_passed_over() -> None:
    settings = CorpusSettings(max_document_bytes=10)
    line = b'{"_id": "a", "text": "x", "meta": "%s"}'
    lines = [line % b"", line % (b"y" * (2 << 20)), line % b"z"]
    assert same_as_rows("a.jsonl", b"\n".join([*lines, *lines]), settings, 1 << 24) == 0


TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS)
def test_columns_say_what_python_reads(kind: pa.DataType, settings: CorpusSettings) -> None:
    ids = [None, "", "a b", "é", "x" * 600, *(f"d{n}" for n in range(95))]
    texts = [None, " \u3000", "é", "あ", "n\0l", *(f"text {n}" for n in range(95))]
    table = pa.table(
        {
            "_id": _column(ids, kind),
            "title": _column(texts[::-1], kind),
            "text": _column(texts[7:] + texts[:7], kind),
            "gone": pa.array([None, True, False, False] * 25),
        }
    )
    for chosen in (table, table.drop_columns("title"), table.slice(3, 40)):
        if settings.text not in chosen.column_names:
            continue
        sink = io.BytesIO()
        pq.write_table(chosen, sink, row_group_size=30)
        plain = same_as_rows("a.parquet", sink.getvalue(), settings, 1)
        assert plain == 0 or kind != pa.binary()


def _column(values: list[str | None], kind: pa.DataType) -> pa.Array:
    column = pa.array(values, pa.string())
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)


def test_keys_of_one_hash_are_in_the_order_of_other_columns() -> None:
    keys = pa.table(
        {
            "id_hash": pa.array([5, 1, 5, 0, 5], pa.uint64()),
            "doc_id": ["b", "z", "a", "y", "a"],
            "row": [0, 1, 9, 3, 4],
        }
    )
    wanted = keys.sort_by([(name, "ascending") for name in ("id_hash", "doc_id", "row")])
    assert by_hash(keys, ("doc_id", "row")).equals(wanted)
