"""Rows of a Parquet slice. https://parquet.apache.org/docs/file-format/"""

import io
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from pipelines.core.errors import InputError
from pipelines.core.protocols import SourceOpener
from pipelines.core.schemas import is_plain
from pipelines.core.settings import CorpusSettings
from pipelines.corpus.failures import readable
from pipelines.corpus.partitions import Given
from pipelines.corpus.rows import SourceRow
from pipelines.corpus.slices import Slice

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1024


def read_columns(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[SourceRow]:
    """See `pipelines.corpus.reader.read_slice`. Types are checked before any value is touched."""
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        # pre_buffer: one large request for each row group instead of many small ones.
        file = pq.ParquetFile(
            pa.PythonFile(cast(io.IOBase, stream), mode="r"),
            pre_buffer=True,
            page_checksum_verification=True,
        )
        check_schema(piece.uri, file.schema_arrow, columns, given)
        yield from _rows(file, piece, columns)


def _rows(file: pq.ParquetFile, piece: Slice, columns: CorpusSettings) -> Iterator[SourceRow]:
    wanted = (columns.id, columns.title, columns.text, columns.tombstone)
    names = [name for name in dict.fromkeys(wanted) if name in file.schema_arrow.names]
    groups, first = _groups_of(file.metadata, piece)
    batches = file.iter_batches(
        _batch_rows(file.metadata),
        row_groups=groups,
        columns=names,
        use_threads=False,
    )
    for batch in batches:
        skip = max(piece.start - first, 0)
        mine = batch.slice(skip, max(piece.end - first - skip, 0))
        yield from _batch(mine, first + skip, columns)
        first += batch.num_rows


def _groups_of(footer: pq.FileMetaData, piece: Slice) -> tuple[list[int], int]:
    """The row groups that the slice touches, and the row at which the first of them begins."""
    groups, begins, end = [], [], 0
    for number in range(footer.num_row_groups):
        begin, end = end, end + footer.row_group(number).num_rows
        if begin < piece.end and end > piece.start:
            groups.append(number)
            begins.append(begin)
    if end < piece.end:
        hint = "Do not change sources during a run; run again."
        raise InputError(f"{piece.uri} has {end} rows, fewer than when it was listed.", hint)
    return groups, begins[0] if begins else 0


def _batch_rows(footer: pq.FileMetaData) -> int:
    """Rows of a batch, so that a batch of average rows stays below `_BATCH_BYTES`."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    size = max((g.total_byte_size // max(g.num_rows, 1) for g in groups), default=1)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(size, 1)))


def _batch(batch: pa.RecordBatch, first: int, columns: CorpusSettings) -> Iterator[SourceRow]:
    names = (columns.id, columns.title, columns.text, columns.tombstone)
    read = (_column(batch, name) for name in names)
    for row, values in enumerate(zip(*read, strict=True), first):
        broken = any(value is _INVALID for value in values)
        doc_id, title, text, gone = (None if value is _INVALID else value for value in values)
        yield SourceRow(row, doc_id, title, text, "invalid_utf8" if broken else "", gone)


_INVALID = object()


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


def _value(scalar: pa.Scalar) -> Any:
    try:
        return _text(scalar.as_py())
    except UnicodeDecodeError:
        return _INVALID


def _text(value: Any) -> Any:
    """Some writers mark no column as text: its bytes are taken as UTF-8."""
    return value.decode("utf-8") if isinstance(value, bytes) else value


def check_schema(uri: str, schema: pa.Schema, columns: CorpusSettings, given: Given) -> None:
    """Raise InputError where a column is missing or cannot hold what it should.

    `given` are the columns that the file's path gives: what the file says of them is not read.
    """
    gone = columns.tombstone in {*schema.names, *given}
    if columns.id not in given:
        _check_column(uri, schema, "id", columns.id, integers=True)
    if columns.text not in given and (columns.text in schema.names or not gone):
        _check_column(uri, schema, "text", columns.text)
    if columns.title in schema.names and columns.title not in given:
        _check_column(uri, schema, "title", columns.title)
    if columns.tombstone in schema.names and columns.tombstone not in given:
        _check_tombstone(uri, schema, str(columns.tombstone))


def _check_tombstone(uri: str, schema: pa.Schema, name: str) -> None:
    kind = schema.field(name).type if schema.names.count(name) == 1 else None
    if kind is None or not (pat.is_boolean(kind) or pat.is_null(kind) or pat.is_integer(kind)):
        raise InputError(
            f"{uri}: column {name!r} holds {kind or 'more than one column'}, not booleans.",
            "Convert it, or name another: --set corpus.tombstone=NAME.",
        )


def _check_column(
    uri: str, schema: pa.Schema, setting: str, name: str, integers: bool = False
) -> None:
    if len(schema.get_all_field_indices(name)) != 1:
        times = "no" if name not in schema.names else "more than one"
        raise InputError(
            f"{uri} has {times} column {name!r}; it has {', '.join(schema.names) or 'none'}.",
            f"Name the right one: --set corpus.{setting}=NAME.",
        )
    kind = schema.field(name).type
    if not is_plain(kind) or not _may_be_text(kind, integers):
        wanted = "text or integers" if integers else "text"
        raise InputError(
            f"{uri}: column {name!r} holds {kind}, not {wanted}.",
            f"Convert it, or name another: --set corpus.{setting}=NAME.",
        )


def _may_be_text(kind: pa.DataType, integers: bool) -> bool:
    if pat.is_dictionary(kind):
        return _may_be_text(kind.value_type, integers)
    texts = (pat.is_string, pat.is_large_string, pat.is_string_view, pat.is_binary)
    others = (pat.is_large_binary, pat.is_binary_view, pat.is_null)
    return any(test(kind) for test in (*texts, *others)) or (integers and pat.is_integer(kind))
