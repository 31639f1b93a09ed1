"""Rows of a Parquet slice, most of them without a Python value."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pat

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import TEXT_OFFSETS, text_bounds
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.footer import row_groups, stored_bytes
from shardrank.corpus.page_batches import page_batches, text_names
from shardrank.corpus.page_header import UnusualPage
from shardrank.corpus.parquet_pages import can_be_read
from shardrank.corpus.parquet_rows import batches_of, open_slice, rows_of
from shardrank.corpus.partitions import Given
from shardrank.corpus.rows import RowBatch, SourceRow, Spans, are_plain, unread
from shardrank.corpus.slices import Slice


def read_column_batches(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[RowBatch]:
    """The rows that `read_columns` gives, in batches."""
    plain = not given and are_plain(columns)
    with open_slice(piece, opener, columns, given) as (file, stream):
        groups = row_groups(file.metadata, (piece.start, piece.end))
        rows = (piece.start, piece.end)
        if plain and _are_texts(file, groups, columns) and _fit(file, rows, columns):
            yield from _from_pages(file, stream, groups, piece.start, columns)
            return
        for first, batch in batches_of(file, groups, piece.start, columns):
            yield _row_batch(first, batch, columns, plain)


def _row_batch(first: int, batch: pa.RecordBatch, columns: CorpusSettings, plain: bool) -> RowBatch:
    numbers = first + np.arange(batch.num_rows)
    picked = partial(_picked, batch, first, columns)
    found = _read(batch, columns) if plain else None
    return RowBatch(numbers, *found, picked) if found else unread(numbers, picked)


def _are_texts(file: pq.ParquetFile, groups: Sequence[int], columns: CorpusSettings) -> bool:
    """Whether id, title and text can be read from pages, and nothing else is asked for."""
    names, schema = text_names(columns, file.schema_arrow), file.schema_arrow
    if columns.tombstone in schema.names or not {columns.id, columns.text} <= {*names}:
        return False
    texts = all(schema.field(name).type in TEXT_OFFSETS for name in names)
    return texts and all(can_be_read(file.metadata, group, names) for group in groups)


def _fit(file: pq.ParquetFile, rows: tuple[int, int], columns: CorpusSettings) -> bool:
    """Whether the columns may be held whole, as pages are read; else pyarrow streams them."""
    names = text_names(columns, file.schema_arrow)
    return stored_bytes(file.metadata, names, rows) <= columns.slice_bytes


def _from_pages(
    file: pq.ParquetFile,
    stream: BinaryIO,
    groups: Sequence[int],
    first: int,
    columns: CorpusSettings,
) -> Iterator[RowBatch]:
    """Row groups by pages; from the first page on that is not as `parquet_pages` reads them, the
    rest of its group by pyarrow."""
    for group in groups:
        end = first + file.metadata.row_group(group).num_rows
        begin = first
        try:
            for batch in page_batches(file, stream, group, first, columns):
                yield batch
                first += len(batch.numbers)
        except UnusualPage:
            for at, found in batches_of(file, [group], begin, columns):
                rest = found.slice(max(first - at, 0))
                if rest.num_rows:
                    yield _row_batch(first, rest, columns, plain=True)
                    first += rest.num_rows
        first = end


def _picked(
    batch: pa.RecordBatch, first: int, columns: CorpusSettings, wanted: Bool
) -> Iterator[SourceRow]:
    rows = np.flatnonzero(wanted)
    return rows_of(batch.take(pa.array(rows)), (first + rows).tolist(), columns)


def _read(
    batch: pa.RecordBatch, columns: CorpusSettings
) -> tuple[Spans, Spans, Spans, Bool] | None:
    """Ids, titles, texts, and where a row is none but these; None where they are of other types."""
    names = {*batch.schema.names}
    if not {columns.id, columns.text} <= names:
        return None
    ids, texts = (_texts(batch.column(name)) for name in (columns.id, columns.text))
    titled = columns.title in names
    titles = _texts(batch.column(columns.title)) if titled else _nothing(batch.num_rows)
    if ids is None or texts is None or titles is None:
        return None
    read = _valid(ids) & _valid(texts)
    if columns.tombstone in names:
        gone = batch.column(columns.tombstone)
        read &= ~_valid(gone) | (_valid(gone) & _is_false(gone))
    return _spans(ids), _spans(titles), _spans(texts), read


def _texts(column: pa.Array) -> pa.Array | None:
    """Texts that are valid UTF-8, and whole numbers in digits; None for what else there is."""
    if pat.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pat.is_integer(column.type):
        column = column.cast(pa.string())
    if column.type not in TEXT_OFFSETS:
        return None
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return column


def _nothing(rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string())


def _valid(column: pa.Array) -> Bool:
    valid: Bool = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _is_false(column: pa.Array) -> Bool:
    if not pat.is_boolean(column.type):
        return np.zeros(len(column), np.bool_)
    false: Bool = pc.fill_null(pc.invert(column), False).to_numpy(zero_copy_only=False)
    return false


def _spans(column: pa.Array) -> Spans:
    """A null is empty, whatever bytes lie under it."""
    data, offsets = text_bounds(column)
    bounds = offsets.astype(np.int64)
    return Spans.of(data, bounds[:-1], np.where(_valid(column), bounds[1:], bounds[:-1]))
