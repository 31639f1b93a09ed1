import io
from typing import BinaryIO

from shardrank.core.protocols import Entry
from shardrank.core.schemas import QUERIES, REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.queries import QueryBatch, read_queries
from shardrank.corpus.validate import Reason


def read(**files: bytes) -> QueryBatch:
    entries = [Entry(f"{name}.jsonl", len(data), "v") for name, data in files.items()]

    def opener(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(files[uri.removesuffix(".jsonl")])

    return read_queries(entries, opener, CorpusSettings(slice_bytes=30))


def test_order_duplicates_and_rejects() -> None:
    batch = read(
        a=b'{"_id": "z", "text": "one"}\n{"_id": "a", "text": " "}\n{"_id": 3, "text": "two"}\n',
        b=b'{"_id": "3", "text": "again"}\n{"_id": "b", "text": "three", "title": 5}',
    )
    assert batch.table.schema == QUERIES
    assert batch.rejected.schema == REJECTED
    assert [tuple(row.values()) for row in batch.table.to_pylist()] == [
        ("z", "one"),
        ("3", "two"),
        ("b", "three"),
    ]
    assert [tuple(row.values()) for row in batch.rejected.to_pylist()] == [
        ("a.jsonl", 28, "a", "encode", "empty_text"),
        ("b.jsonl", 0, "3", "encode", "duplicate_id"),
    ]


def test_no_queries() -> None:
    batch = read(a=b"")
    assert (batch.table.num_rows, batch.rejected.num_rows) == (0, 0)
    assert batch.table.schema == QUERIES


def test_what_the_encoder_cannot_use_is_set_aside_where_it_lies() -> None:
    batch = read(
        a=b'{"_id": "z", "text": "one"}\n{"_id": "a", "text": " "}\n',
        b=b'{"_id": "b", "text": "two"}\n{"_id": "c", "text": "three"}\n',
    ).reject({2: Reason.NOT_FINITE, 0: Reason.NO_TOKENS})
    assert batch.table["query_id"].to_pylist() == ["b"]
    assert batch.places.to_pylist() == [{"source": "b.jsonl", "row": 0}]
    assert [tuple(row.values()) for row in batch.rejected.to_pylist()] == [
        ("a.jsonl", 28, "a", "encode", "empty_text"),
        ("a.jsonl", 0, "z", "encode", "no_tokens"),
        ("b.jsonl", 28, "c", "encode", "not_finite"),
    ]
    assert batch.rejected.schema == REJECTED
