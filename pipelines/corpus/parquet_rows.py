"""Rows of a Parquet slice. https://parquet.apache.org/docs/file-format/"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from shardrank.core.errors import InputError
from shardrank.core.protocols import SourceOpener
from shardrank.core.schemas import is_plain
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.footer import open_parquet, row_groups
from shardrank.corpus.order import Instant
from shardrank.corpus.partitions import Given
from shardrank.corpus.picture_columns import check_pictures, pictures_of
from shardrank.corpus.rows import SourceRow
from shardrank.corpus.slices import Slice

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 8192


def read_columns(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[SourceRow]:
    """See `shardrank.corpus.reader.read_slice`. Types are checked before any value is touched."""
    for first, batch in read_batches(piece, opener, columns, given):
        yield from rows_of(batch, range(first, first + batch.num_rows), columns)


def read_batches(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The columns that are wanted, and the number of a batch's first row."""
    with open_slice(piece, opener, columns, given) as (file, _):
        groups = row_groups(file.metadata, (piece.start, piece.end))
        yield from batches_of(file, groups, piece.start, columns)


@contextmanager
def open_slice(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[tuple[pq.ParquetFile, BinaryIO]]:
    """The slice's file, whose columns can hold what is wanted, and the stream of its bytes."""
    rows = (piece.start, piece.end)
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        file = open_parquet(stream, _wanted(columns), rows, columns.slice_bytes)
        check_schema(piece.uri, file.schema_arrow, columns, given)
        _check_length(piece, file.metadata)
        yield file, stream


def _wanted(columns: CorpusSettings) -> list[str]:
    texts = (columns.id, columns.title, columns.text)
    names = (*texts, columns.tombstone, columns.order, columns.image)
    return [name for name in dict.fromkeys(names) if name]


def batches_of(
    file: pq.ParquetFile, groups: Sequence[int], first: int, columns: CorpusSettings
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Row groups by their numbers, of which the first begins with row `first`.

    Raises:
        pa.ArrowException: they cannot be read, or hold other than as many rows as the footer says,
            where pyarrow 25 ends without a word.
    """
    end = first + sum(file.metadata.row_group(group).num_rows for group in groups)
    batches = file.iter_batches(
        batch_rows(file.metadata),
        row_groups=groups,
        columns=[name for name in _wanted(columns) if name in file.schema_arrow.names],
        use_threads=False,
    )
    for batch in batches:
        yield first, batch
        first += batch.num_rows
    if first != end:
        raise pa.ArrowInvalid(
            f"pages hold other than as many rows as the footer says: {first - end:+}"
        )


def _check_length(piece: Slice, footer: pq.FileMetaData) -> None:
    if footer.num_rows < piece.end:
        hint = "Do not change sources during a run; run again."
        found = f"{piece.uri} has {footer.num_rows} rows, fewer than when it was listed."
        raise InputError(found, hint)


def batch_rows(footer: pq.FileMetaData) -> int:
    """Rows of a batch, so that a batch of average rows stays below `_BATCH_BYTES`."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    size = max((g.total_byte_size // max(g.num_rows, 1) for g in groups), default=1)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(size, 1)))


def rows_of(
    batch: pa.RecordBatch, numbers: Iterable[int], columns: CorpusSettings
) -> Iterator[SourceRow]:
    """A batch's rows, by these numbers."""
    names = (columns.id, columns.title, columns.text, columns.tombstone)
    read = [_column(batch, name) for name in names]
    nothing = [None] * batch.num_rows
    read.append(_orders(batch.column(columns.order)) if columns.order else nothing)
    shown = columns.image if columns.image in batch.schema.names else None
    pictures = pictures_of(batch.column(shown)) if shown else nothing
    for row, values, picture in zip(numbers, zip(*read, strict=True), pictures, strict=True):
        broken = any(value is _INVALID for value in values)
        doc_id, title, text, gone, order = (None if v is _INVALID else v for v in values)
        problem = "invalid_utf8" if broken else ""
        yield SourceRow(row, doc_id, title, text, problem, gone, order, picture=picture)


_INVALID = object()
_NANOSECONDS: dict[Any, int] = {
    "s": 10**9,
    "ms": 10**6,
    "us": 1000,
    "ns": 1,
    pa.date32(): 86_400 * 10**9,
    pa.date64(): 10**6,
}


def _column(batch: pa.RecordBatch, name: str | None) -> Sequence[Any]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    return _values(batch.column(name))


def _values(column: pa.Array) -> Sequence[Any]:
    """Python values; invalid UTF-8, which Parquet readers let pass, becomes `_INVALID`."""
    if pat.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return [_text(value) for value in column.to_pylist()]
    except UnicodeDecodeError:
        return [_value(column[row]) for row in range(len(column))]


def _orders(column: pa.Array) -> Sequence[Any]:
    """Python values; times become `Instant`, whatever their unit."""
    if pat.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pat.is_timestamp(column.type) or pat.is_date(column.type):
        unit = _NANOSECONDS[column.type.unit if pat.is_timestamp(column.type) else column.type]
        times = column.cast(pa.int32() if pat.is_date32(column.type) else pa.int64())
        return [None if time is None else Instant(time * unit) for time in times.to_pylist()]
    return _values(column) if may_be_text(column.type) else column.to_pylist()


def _value(scalar: pa.Scalar) -> Any:
    try:
        return _text(scalar.as_py())
    except UnicodeDecodeError:
        return _INVALID


def _text(value: Any) -> Any:
    """Some writers mark no column as text: its bytes are taken as UTF-8. Decimals are whole here,
    since `_may_be_integers` let no others pass."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, Decimal):
        return int(value)
    return str(value) if isinstance(value, UUID) else value


def check_schema(uri: str, schema: pa.Schema, columns: CorpusSettings, given: Given) -> None:
    """Raise InputError where a column is missing or cannot hold what it should.

    `given` are the columns that the file's path gives: what the file says of them is not read.
    """
    gone = columns.tombstone in {*schema.names, *given}
    if columns.id not in given:
        _check_column(uri, schema, "id", columns.id)
    needed = not gone and not columns.image
    if columns.text not in given and (columns.text in schema.names or needed):
        _check_column(uri, schema, "text", columns.text)
    if columns.image and not (gone and columns.image not in schema.names):
        check_pictures(uri, schema, columns.image)
    if columns.title in schema.names and columns.title not in given:
        _check_column(uri, schema, "title", columns.title)
    if columns.tombstone in schema.names and columns.tombstone not in given:
        _check_tombstone(uri, schema, str(columns.tombstone))
    if columns.order:
        _check_column(uri, schema, "order", columns.order)


def _check_tombstone(uri: str, schema: pa.Schema, name: str) -> None:
    kind = schema.field(name).type if schema.names.count(name) == 1 else None
    if kind is None or not (pat.is_boolean(kind) or pat.is_null(kind) or pat.is_integer(kind)):
        raise InputError(
            f"{uri}: column {name!r} holds {kind or 'more than one column'}, not booleans.",
            "Convert it, or name another: --set corpus.tombstone=NAME.",
        )


def _check_column(uri: str, schema: pa.Schema, setting: str, name: str) -> None:
    if len(schema.get_all_field_indices(name)) != 1:
        times = "no" if name not in schema.names else "more than one"
        raise InputError(
            f"{uri} has {times} column {name!r}; it has {', '.join(schema.names) or 'none'}.",
            f"Name the right one: --set corpus.{setting}=NAME.",
        )
    kind = schema.field(name).type
    allowed, wanted = _ALLOWED.get(setting, (may_be_text, "text"))
    if not (may_be_text(kind) or allowed(kind)):
        raise InputError(
            f"{uri}: column {name!r} holds {kind}, not {wanted}.",
            f"Convert it, or name another: --set corpus.{setting}=NAME.",
        )


def may_be_text(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold texts."""
    if pat.is_dictionary(kind):
        return may_be_text(kind.value_type)
    texts = (pat.is_string, pat.is_large_string, pat.is_string_view, pat.is_binary)
    others = (pat.is_large_binary, pat.is_binary_view, pat.is_null)
    return is_plain(kind) and any(test(kind) for test in (*texts, *others))


def _may_be_integers(kind: pa.DataType) -> bool:
    """Integers, also as decimals without places (Snowflake's, Oracle's), and UUIDs (DuckDB's)."""
    if pat.is_dictionary(kind):
        return _may_be_integers(kind.value_type)
    whole = pat.is_decimal(kind) and kind.scale == 0
    return pat.is_integer(kind) or whole or isinstance(kind, pa.UuidType)


def _may_be_ordered(kind: pa.DataType) -> bool:
    if pat.is_dictionary(kind):
        return _may_be_ordered(kind.value_type)
    tests = (pat.is_integer, pat.is_decimal, pat.is_float32, pat.is_float64, pat.is_timestamp)
    return any(test(kind) for test in (*tests, pat.is_date))


#: What a setting's column may hold beside text, and all of it in words.
_ALLOWED = {
    "id": (_may_be_integers, "text, integers or UUIDs"),
    "order": (_may_be_ordered, "numbers, times or text"),
}
