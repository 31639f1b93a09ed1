import io
import json
from typing import Any, BinaryIO

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.fingerprint import content_hash
from pipelines.core.protocols import Entry
from pipelines.core.schemas import DOCUMENT_KEYS, REJECTED
from pipelines.core.settings import CorpusSettings
from pipelines.corpus.scan import DUPLICATES, ScanResult, duplicates, id_hash, scan_slice
from pipelines.corpus.slices import plan_slices


def scan(*values: Any, slice_bytes: int = 1 << 20) -> list[ScanResult]:
    data = b"".join(json.dumps(value).encode() + b"\n" for value in values)

    def opener(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    pieces = plan_slices([Entry("a.jsonl", len(data), "v")], opener, slice_bytes)
    return [scan_slice(piece, opener, CorpusSettings()) for piece in pieces]


def test_rows_in_are_keys_and_rejects() -> None:
    values = [{"_id": f"d{n}", "title": "T", "text": "x" * (n % 5)} for n in range(50)]
    [result] = scan(*values)
    assert result.rows == 50 == result.keys.num_rows + result.rejected.num_rows
    assert (result.keys.schema, result.rejected.schema) == (DOCUMENT_KEYS, REJECTED)
    assert set(result.rejected["reason"].to_pylist()) == {"empty_text"}
    first = result.keys.to_pylist()[0]
    assert first["id_hash"] == id_hash(first["doc_id"]) == min(result.keys["id_hash"].to_pylist())
    assert first["content_hash"] == content_hash("T", "x" * (int(first["doc_id"][1:]) % 5))
    order = [(r["id_hash"], r["doc_id"], r["row"]) for r in result.keys.to_pylist()]
    assert order == sorted(order)


def test_an_integer_and_its_digits_are_one_id() -> None:
    [result] = scan({"_id": 1, "text": "x"}, {"_id": "1", "text": "y"})
    assert duplicates([(0, result.keys)]).num_rows == 1


def test_nothing_is_duplicated_in_nothing() -> None:
    [result] = scan({"_id": "1", "text": "x"})
    for keys in ([], [(0, DOCUMENT_KEYS.empty_table())], [(3, result.keys)]):
        found = duplicates(keys)
        assert (found.schema, found.num_rows) == (DUPLICATES, 0)


@settings(max_examples=100, deadline=None)
@given(slices=st.lists(st.lists(st.sampled_from("abcde"), max_size=8), max_size=5))
def test_only_the_first_occurrence_is_kept(slices: list[list[str]]) -> None:
    seen, expected, keys = set(), [], []
    for ordinal, ids in enumerate(slices):
        for row, doc_id in enumerate(ids):
            if doc_id in seen:
                expected.append({"slice": ordinal, "row": row, "doc_id": doc_id})
            seen.add(doc_id)
        # One hash for all: ids must be told apart by themselves.
        rows = [
            {"id_hash": 1, "doc_id": doc_id, "content_hash": "", "row": row}
            for row, doc_id in enumerate(ids)
        ]
        keys.append((ordinal, pa.Table.from_pylist(rows, DOCUMENT_KEYS)))
    assert duplicates(keys[::-1]).to_pylist() == expected
