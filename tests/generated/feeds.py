"""Feeds that nobody thought of, as files of all formats, and what a dictionary says of them."""

import gzip
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import Entry
from shardrank.core.schemas import PART_KEYS
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.changes import Comparison, Mode, compare
from shardrank.corpus.first_pass import ScanResult, id_hash, scan_slice
from shardrank.corpus.reader import read_slice
from shardrank.corpus.slices import Slice, plan_slices
from shardrank.corpus.validate import Document, check

IDS = ["a", "b", "c", "7", "é", 7, -1, "-1"]
FORMATS = ["jsonl", "ndjson.gz", "json.zst", "parquet"]


@dataclass(frozen=True)
class Row:
    """What a feed says of one id; `bad` rows say nothing, whatever else they hold."""

    doc_id: Any
    text: str
    gone: bool
    bad: bool
    at: int

    def value(self, ordered: bool) -> dict[str, Any]:
        text = " " if self.bad else self.text
        gone = None if self.bad else self.gone
        # A tombstone whose text is blank is one; a bad row has no id where only that can be bad.
        doc_id = None if self.bad and self.gone else self.doc_id
        return {"_id": doc_id, "text": text, "gone": gone} | ({"at": self.at} if ordered else {})


@dataclass(frozen=True)
class Feed:
    files: list[tuple[str, list[Row]]]
    stored: dict[str, str]
    mode: Mode
    ordered: bool
    slice_bytes: int

    @property
    def rows(self) -> list[Row]:
        """In the order in which they count: the last of an id wins."""
        rows = [row for _, rows in self.files for row in rows]
        return sorted(rows, key=lambda row: row.at) if self.ordered else rows

    def columns(self) -> CorpusSettings:
        order = "at" if self.ordered else None
        return CorpusSettings(tombstone="gone", order=order, slice_bytes=self.slice_bytes)


_rows = st.builds(
    Row,
    doc_id=st.sampled_from(IDS),
    text=st.sampled_from(["one", "two", "a\0b", "ü" * 50]),
    gone=st.sampled_from([False, False, True]),
    bad=st.sampled_from([False] * 5 + [True]),
    at=st.integers(-3, 3),
)
FEEDS = st.builds(
    Feed,
    files=st.lists(st.tuples(st.sampled_from(FORMATS), st.lists(_rows, max_size=12)), max_size=4),
    stored=st.dictionaries(st.sampled_from(["a", "b", "7", "-1", "z"]), st.sampled_from(["one"])),
    mode=st.sampled_from(["snapshot", "upsert"]),
    ordered=st.booleans(),
    slice_bytes=st.integers(1, 400),
)


@dataclass
class Written:
    """The feed's files; an opener of them."""

    data: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(self.data[uri])

    def entries(self) -> list[Entry]:
        return [Entry(name, len(data), "v") for name, data in sorted(self.data.items())]


def written(feed: Feed) -> Written:
    found = Written()
    for number, (kind, rows) in enumerate(feed.files):
        values = [row.value(feed.ordered) for row in rows]
        found.data[f"{number}.{kind}"] = encoded(kind, values, feed.ordered)
    return found


def encoded(kind: str, values: list[dict[str, Any]], ordered: bool) -> bytes:
    if kind == "parquet":
        columns = {"_id": pa.string(), "text": pa.string(), "gone": pa.bool_()}
        schema = pa.schema(columns | ({"at": pa.int16()} if ordered else {}))
        texts = [v | {"_id": None if v["_id"] is None else str(v["_id"])} for v in values]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(texts, schema), sink, row_group_size=3)
        return sink.getvalue()
    lines = "".join(json.dumps(value) + "\n" for value in values).encode()
    if kind.endswith("zst"):
        return bytes(pa.compress(lines, codec="zstd", asbytes=True))
    return gzip.compress(lines) if kind.endswith("gz") else lines


def stored_keys(stored: dict[str, str]) -> pa.Table:
    values = [
        {
            "id_hash": id_hash(doc_id),
            "doc_id": doc_id,
            "content_hash": content_hash("", text),
            "row": row,
            "rows": 1,
            "tokens": 1,
            "truncated": 0,
        }
        for row, (doc_id, text) in enumerate(stored.items())
    ]
    return pa.Table.from_pylist(values, PART_KEYS)


def live_after(
    feed: Feed, files: Written, pieces: list[Slice], found: Comparison
) -> dict[str, str]:
    """What is stored and not removed, and what is read and not skipped."""
    removed = set(found.removed["doc_id"].to_pylist())
    live = {doc_id: text for doc_id, text in feed.stored.items() if doc_id not in removed}
    skips = {(row["slice"], row["row"]) for row in found.skips.to_pylist()}
    for number, piece in enumerate(pieces):
        for row in read_slice(piece, files, feed.columns()):
            document = check(row, feed.columns())
            if isinstance(document, Document) and (number, row.row) not in skips:
                assert document.doc_id not in live, "one live document an id"
                live[document.doc_id] = document.text
    return live


def check_feed(feed: Feed) -> None:
    """Scan and compare the feed's files; AssertionError where a dictionary says otherwise."""
    files = written(feed)
    pieces = plan_slices(files.entries(), files, feed.slice_bytes)
    scans = [scan_slice(piece, files, feed.columns()) for piece in pieces]
    stored = [(0, stored_keys(feed.stored))]
    keys = [(number, scan.keys) for number, scan in enumerate(scans)]
    found = compare(keys, stored, feed.mode, due=())
    said = {str(row.doc_id): row for row in feed.rows if not row.bad}
    wanted = dict(feed.stored) if feed.mode == "upsert" else {}
    for doc_id, row in said.items():
        wanted.pop(doc_id, None)
        if not row.gone:
            wanted[doc_id] = row.text
    assert live_after(feed, files, pieces, found) == wanted
    assert_counts(feed, scans, found, said)


def assert_counts(
    feed: Feed, scans: list[ScanResult], found: Comparison, said: dict[str, Row]
) -> None:
    counts, rows = Counter(found.counts), len(feed.rows)
    rejected = sum(scan.rejected.num_rows for scan in scans)
    assert rejected == sum(row.bad for row in feed.rows)
    assert sum(scan.rows for scan in scans) == rows
    earlier = rows - rejected - len(said)
    assert counts["superseded"] + found.duplicates.num_rows == earlier
    assert counts["superseded"] == (earlier if feed.mode == "upsert" else 0)
    kinds = ("added", "changed", "unchanged", "tombstones", "superseded")
    assert rows == sum(counts[kind] for kind in kinds) + rejected + found.duplicates.num_rows
    assert sum(found.taken.values()) == counts["added"] + counts["changed"]
