"""The rows of a slice, as they come: nothing is judged here but whether they can be read."""

from collections.abc import Generator, Iterable
from dataclasses import replace
from typing import Any

from shardrank.core.errors import InputError, RunFailed
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.column_batches import read_column_batches
from shardrank.corpus.jsonlines import read_lines
from shardrank.corpus.line_batches import read_line_batches
from shardrank.corpus.parquet_rows import read_columns
from shardrank.corpus.partitions import Given, path_columns
from shardrank.corpus.rows import RowBatch, SourceRow
from shardrank.corpus.slices import Slice

__all__ = ["RowBatch", "SourceRow", "read_slice", "read_slice_batches"]


def read_slice(piece: Slice, opener: SourceOpener, columns: CorpusSettings) -> Generator[SourceRow]:
    """The slice's rows in order, with bounded memory.

    The file must be of the slice's version when it is opened, and still when its last row has been
    read: what was read of a file that changed in between is no state it ever had.

    Args:
        piece: what to read.
        opener: opens its file.
        columns: names of the id, title and text columns; the title's may be absent. What the
            path of the file says of them (`lang=en/`) comes before what the file says.

    Raises:
        InputError: a column is missing or of a type that cannot hold what it should, or the file
            is damaged or has changed. What is wrong with one row becomes its `problem` instead.
        RunFailed: reading failed, and may succeed another time.
    """
    read = read_columns if piece.format == "parquet" else read_lines
    given = path_columns(piece.uri, columns)
    rows = read(piece, opener, columns, given)
    whole = (_with(row, columns, given) for row in rows) if given else rows
    yield from _unchanged(whole, piece, opener)


def read_slice_batches(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings
) -> Generator[RowBatch]:
    """The rows of `read_slice`, many at once, and most of them as bytes; raises what it raises."""
    read = read_column_batches if piece.format == "parquet" else read_line_batches
    given = path_columns(piece.uri, columns)
    batches = read(piece, opener, columns, given)

    def whole(batch: RowBatch) -> RowBatch:
        return replace(
            batch, rows=lambda wanted: (_with(r, columns, given) for r in batch.rows(wanted))
        )

    yield from _unchanged(map(whole, batches) if given else batches, piece, opener)


def _unchanged(found: Iterable[Any], piece: Slice, opener: SourceOpener) -> Generator[Any]:
    """What is found, if the file is as it was when the last of it was read."""
    try:
        yield from found
    except (InputError, RunFailed):
        # A change looks like damage to who reads through it: that would blame the wrong thing.
        _require_unchanged(piece, opener)
        raise
    _require_unchanged(piece, opener)


def _with(row: SourceRow, columns: CorpusSettings, given: Given) -> SourceRow:
    """The row, with what its file's path says in place of what the file says."""
    return row._replace(
        doc_id=given.get(columns.id, row.doc_id),
        title=given.get(columns.title, row.title),
        text=given.get(columns.text, row.text),
        tombstone=given.get(columns.tombstone or "", row.tombstone),
        names=dict.fromkeys([*row.names, *given]).keys(),  # in order, as a union is not
    )


def _require_unchanged(piece: Slice, opener: SourceOpener) -> None:
    """Opening checks the version; nothing is read."""
    opener(piece.uri, piece.version).close()
