import io
import json
from typing import Any, BinaryIO

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import Entry
from shardrank.core.schemas import DOCUMENT_KEYS, REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.first_pass import ScanResult, id_hash, scan_slice
from shardrank.corpus.slices import plan_slices


def scan(*values: Any, tombstone: str | None = None) -> list[ScanResult]:
    data = b"".join(json.dumps(value).encode() + b"\n" for value in values)

    def opener(uri: str, version: str | None = None) -> BinaryIO:
        return io.BytesIO(data)

    pieces = plan_slices([Entry("a.jsonl", len(data), "v")], opener, 1 << 20)
    return [scan_slice(piece, opener, CorpusSettings(tombstone=tombstone)) for piece in pieces]


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
    assert result.keys["doc_id"].to_pylist() == ["1", "1"]


def test_a_tombstone_needs_no_text_and_has_no_content() -> None:
    rows = [{"_id": "a", "gone": True}, {"_id": "b", "text": "x", "gone": False}]
    [result] = scan(*rows, {"_id": "c", "text": "x", "gone": "yes"}, tombstone="gone")
    found = {row["doc_id"]: row["content_hash"] for row in result.keys.to_pylist()}
    assert found == {"a": "", "b": content_hash("", "x")}
    assert result.rejected["reason"].to_pylist() == ["tombstone_not_boolean"]


def test_without_the_setting_a_column_of_any_name_is_no_tombstone() -> None:
    [result] = scan({"_id": "a", "text": "x", "gone": True})
    assert result.keys["content_hash"].to_pylist() == [content_hash("", "x")]
