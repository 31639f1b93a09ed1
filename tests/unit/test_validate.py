from typing import Any

import pytest

from shardrank.core.schemas import REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.rows import SourceRow
from shardrank.corpus.validate import (
    Document,
    Reason,
    Rejected,
    check,
    rejected_table,
    shown_id,
)

SETTINGS = CorpusSettings(max_document_bytes=20, max_id_bytes=10)


def judge(doc_id: Any = "d", title: Any = "T", text: Any = "x", problem: str = "") -> Any:
    return check(SourceRow(3, doc_id, title, text, problem), SETTINGS)


def test_a_document() -> None:
    assert judge() == Document(3, "d", "T", "x")
    assert judge(title=None) == Document(3, "d", "", "x")


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (12, "12"),
        (-1, "-1"),
        ("-1", "-1"),
        ("01", "01"),
        (0, "0"),
        (9_999_999_999, "9999999999"),
        ("ünï/:#", "ünï/:#"),
        ("x" * 10, "x" * 10),
    ],
)
def test_ids_that_are_kept(found: Any, kept: str) -> None:
    assert judge(doc_id=found).doc_id == kept


@pytest.mark.parametrize(
    ("doc_id", "reason"),
    [
        (None, "missing_id"),
        ("", "missing_id"),
        (1.0, "id_not_text"),
        (float("nan"), "id_not_text"),
        (True, "id_not_text"),
        (["a"], "id_not_text"),
        ({}, "id_not_text"),
        ("x" * 11, "id_too_long"),
        ("é" * 6, "id_too_long"),
        (10_000_000_000, "id_too_long"),
        (-1_000_000_000, "id_too_long"),
        ("a b", "id_has_whitespace"),
        ("a\tb", "id_has_whitespace"),
        ("a\n", "id_has_whitespace"),
        ("a\u00a0b", "id_has_whitespace"),
        ("a\0", "id_not_printable"),
        ("a\x7f", "id_not_printable"),
        ("\ud800", "invalid_utf8"),
    ],
)
def test_ids_that_are_rejected(doc_id: Any, reason: str) -> None:
    assert judge(doc_id=doc_id) == Reason(reason)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": None}, "missing_text"),
        ({"text": ""}, "empty_text"),
        ({"text": " \n\u3000"}, "empty_text"),
        ({"text": 1}, "text_not_text"),
        ({"text": ["x"]}, "text_not_text"),
        ({"text": "\udfff"}, "invalid_utf8"),
        ({"title": "\udfff"}, "invalid_utf8"),
        ({"title": 1}, "title_not_text"),
        ({"title": False}, "title_not_text"),
        ({"text": "x" * 20}, "document_too_large"),
        ({"text": "é" * 10}, "document_too_large"),
        ({"problem": "malformed_json"}, "malformed_json"),
    ],
)
def test_content_that_is_rejected(fields: dict[str, Any], reason: str) -> None:
    assert judge(**fields) == Reason(reason)


def test_a_document_may_fill_the_limit() -> None:
    assert isinstance(judge(text="x" * 19), Document)


@pytest.mark.parametrize(
    ("value", "shown"), [(None, None), ("\ud800", "?"), (1.5, "1.5"), ("x" * 999, "x" * 200)]
)
def test_ids_in_the_rejected_table(value: Any, shown: str | None) -> None:
    assert shown_id(value) == shown
    table = rejected_table("a.jsonl", "ingest", [Rejected(1, shown, Reason.MISSING_ID)])
    assert table.schema == REJECTED
    assert table.to_pylist() == [
        {"source": "a.jsonl", "row": 1, "doc_id": shown, "stage": "ingest", "reason": "missing_id"}
    ]
