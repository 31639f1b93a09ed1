"""What makes a row a document, and the reasons for which it is none."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from shardrank.core.schemas import REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.order import order_key
from shardrank.corpus.rows import Elsewhere, SourceRow

if TYPE_CHECKING:
    from shardrank.pictures.opening import Bounds

_SPACE = re.compile(r"\s")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHOWN_ID = 200


class Reason(StrEnum):
    """Why a row is set aside: the `reason` of the rejected table."""

    MALFORMED_JSON = "malformed_json"
    INVALID_UTF8 = "invalid_utf8"
    MISSING_ID = "missing_id"
    ID_NOT_TEXT = "id_not_text"
    ID_TOO_LONG = "id_too_long"
    ID_HAS_WHITESPACE = "id_has_whitespace"  # run files separate their columns by it
    ID_NOT_PRINTABLE = "id_not_printable"
    TITLE_NOT_TEXT = "title_not_text"
    MISSING_TEXT = "missing_text"
    TEXT_NOT_TEXT = "text_not_text"
    EMPTY_TEXT = "empty_text"
    DOCUMENT_TOO_LARGE = "document_too_large"
    DUPLICATE_ID = "duplicate_id"
    NO_TOKENS = "no_tokens"
    NOT_FINITE = "not_finite"
    TOMBSTONE_NOT_BOOLEAN = "tombstone_not_boolean"
    MISSING_ORDER = "missing_order"
    ORDER_NOT_SORTABLE = "order_not_sortable"
    UNKNOWN_PARENT = "unknown_parent"
    EXCLUDE_NOT_IDS = "exclude_not_ids"  # of a query: no list of documents' ids
    IMAGE_IS_PATH = "image_is_path"  # a name of a file or a URL, without its bytes
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_MANY_PIXELS = "image_too_many_pixels"
    IMAGE_UNKNOWN = "image_unknown"  # in no format that is read
    IMAGE_BROKEN = "image_broken"
    IMAGE_UNUSUAL = "image_unusual"  # samples of no known range, or far too narrow


class Document(NamedTuple):
    """A row that can be indexed; `title` may be empty, `text` is not blank, but where there is a
    `picture`, whose header was looked at.

    `order` sorts among the rows of its id (see `shardrank.corpus.order`); "" without corpus.order.
    """

    row: int
    doc_id: str
    title: str
    text: str
    order: str = ""
    picture: bytes | None = None


class Tombstone(NamedTuple):
    """A row that only says that its document is gone."""

    row: int
    doc_id: str
    order: str = ""


class Rejected(NamedTuple):
    """A row set aside; `doc_id` as far as it can be shown."""

    row: int
    doc_id: str | None
    reason: Reason


def check(row: SourceRow, settings: CorpusSettings) -> Document | Tombstone | Reason:
    """The document or the tombstone that a row holds, or why it holds none.

    Integer ids become decimal strings, a null title becomes "". Sizes are bytes of UTF-8; a
    document's are its title's and its text's.
    """
    if row.problem:
        return Reason(row.problem)
    doc_id = _check_id(row.doc_id, settings.max_id_bytes)
    if isinstance(doc_id, Reason):
        return doc_id
    if row.tombstone not in (None, False, True):
        return Reason.TOMBSTONE_NOT_BOOLEAN
    order = _check_order(row.order) if settings.order else ""
    if isinstance(order, Reason):
        return order
    if row.tombstone:
        return Tombstone(row.row, doc_id, order)
    text = row.text
    if row.picture is not None:
        if reason := _check_picture(row.picture, settings):
            return reason
        text = "" if text is None else text
    reason = _check_content(row.title, text, settings.max_document_bytes)
    if reason == Reason.EMPTY_TEXT and row.picture is not None:
        reason, text = None, ""
    return reason or Document(row.row, doc_id, row.title or "", text, order, row.picture)


def picture_bounds(settings: CorpusSettings) -> "Bounds":
    """What pictures are held to."""
    from shardrank.pictures.opening import Bounds  # brings Pillow

    return Bounds(settings.max_image_bytes, settings.max_image_pixels)


def rejected_table(source: str, stage: str, rows: Iterable[Rejected]) -> pa.Table:
    """A table of schema REJECTED: rows of one source, set aside by one stage."""
    values = [
        {
            "source": source,
            "row": r.row,
            "doc_id": r.doc_id,
            "stage": stage,
            "reason": str(r.reason),
        }
        for r in rows
    ]
    return pa.Table.from_pylist(values, REJECTED)


def shown_id(value: Any) -> str | None:
    """An id of any kind as valid, short text for the rejected table; None where there is none."""
    if value is None:
        return None
    return str(value)[:_SHOWN_ID].encode("utf-8", "replace").decode("utf-8")


def _check_id(value: Any, limit: int) -> str | Reason:
    if value is None or value == "":
        return Reason.MISSING_ID
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return Reason.ID_NOT_TEXT
    size = _utf8_size(value)
    if size is None:
        return Reason.INVALID_UTF8
    if size > limit:
        return Reason.ID_TOO_LONG
    if _SPACE.search(value):
        return Reason.ID_HAS_WHITESPACE
    return Reason.ID_NOT_PRINTABLE if _CONTROL.search(value) else value


def _check_order(value: Any) -> str | Reason:
    if value is None:
        return Reason.MISSING_ORDER
    found = order_key(value)
    return Reason.ORDER_NOT_SORTABLE if found is None else found


def _check_picture(picture: Any, settings: CorpusSettings) -> Reason | None:
    """By its header alone: pixels are decoded by who cuts what is new."""
    from shardrank.pictures.opening import look

    if isinstance(picture, Elsewhere):
        return Reason.IMAGE_IS_PATH
    fault = look(picture, picture_bounds(settings))
    return None if fault is None else Reason(str(fault))


def _check_content(title: Any, text: Any, limit: int) -> Reason | None:
    if text is None:
        return Reason.MISSING_TEXT
    if not isinstance(text, str):
        return Reason.TEXT_NOT_TEXT
    if title is not None and not isinstance(title, str):
        return Reason.TITLE_NOT_TEXT
    sizes = _utf8_size(text), _utf8_size(title or "")
    if sizes[0] is None or sizes[1] is None:
        return Reason.INVALID_UTF8
    if sizes[0] + sizes[1] > limit:
        return Reason.DOCUMENT_TOO_LARGE
    return None if text.strip() else Reason.EMPTY_TEXT


def _utf8_size(text: str) -> int | None:
    """Bytes of UTF-8; None where there is a lone surrogate, which UTF-8 cannot hold."""
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None
