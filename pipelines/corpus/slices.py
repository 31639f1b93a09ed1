"""Cutting source files into slices: the units of reading."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.source_files import SUPPORTED_NAMES, Compression, Format, name_format
from shardrank.corpus.failures import readable
from shardrank.corpus.footer import read_footer
from shardrank.corpus.sniff import refuse_other_content

_FOOTERS_AT_ONCE = 8


@dataclass(frozen=True)
class Slice:
    """A range of one source file; the slices of a file hold each of its rows exactly once.

    What numbers a row (`row` in the keys and in the rejected table) depends on the format:

    - Parquet: `start` and `end` are rows at which row groups begin, since to read any row of a
      group is to read all before it. A row's number is its row in the file, from 0.
    - JSON Lines: `start` and `end` are bytes; the slice owns the lines that begin in
      [start, end). A row's number is the offset of its line's first byte in the (decompressed)
      file, so that no slice needs to know how many lines came before it:
      `tail -c +$((row + 1)) FILE | head -n 1` shows it.
    - Compressed JSON Lines cannot be cut: one slice, [0, compressed bytes).

    `version` is the Entry's: with it a slice's JSON changes when its file does, and reading
    refuses a file that has changed since.
    """

    uri: str
    version: str
    format: Format
    compression: Compression
    start: int
    end: int


def source_format(uri: str) -> tuple[Format, Compression]:
    """Format and compression by the file's name. Raises InputError where it is unsupported."""
    found = name_format(uri)
    if found is None:
        raise InputError(
            f"{uri} is neither Parquet nor JSON Lines by its name.",
            f"Supported are {SUPPORTED_NAMES}.",
        )
    return found


@dataclass(frozen=True)
class SourceFile:
    """A file as it will be read: its slices, and the schema of one of Parquet."""

    uri: str
    slices: Sequence[Slice]
    schema: pa.Schema | None


def plan_slices(entries: Sequence[Entry], opener: SourceOpener, slice_bytes: int) -> list[Slice]:
    """All slices of the files, as `plan_files` cuts them."""
    return [s for file in plan_files(entries, opener, slice_bytes) for s in file.slices]


def plan_files(
    entries: Sequence[Entry], opener: SourceOpener, slice_bytes: int
) -> list[SourceFile]:
    """The files in the order given, each cut into slices by position.

    Only the footers of Parquet files are read, and the first bytes of other files on this
    machine's disks: elsewhere that would be a request a file, and who reads the first slice looks.
    A slice holds about `slice_bytes` (of Parquet: uncompressed) bytes; a row group that is larger
    than that is a slice of its own.

    Raises:
        InputError: a file is not what its name says, its name says neither format, or it changed
            since it was listed.
    """
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return list(pool.map(lambda entry: _plan_file(entry, opener, slice_bytes), entries))


def _plan_file(entry: Entry, opener: SourceOpener, slice_bytes: int) -> SourceFile:
    kind, compression = source_format(entry.key)
    schema = None
    if kind == "parquet":
        footer = _footer(entry, opener)
        schema, ranges = footer.schema.to_arrow_schema(), _row_ranges(footer, slice_bytes)
    else:
        if "://" not in entry.key:
            _look(entry, opener)
        pieces = 1 if compression else -(-entry.bytes // slice_bytes)
        ranges = _even_ranges(0, entry.bytes, pieces if entry.bytes else 0)
    cut = [Slice(entry.key, entry.version, kind, compression, start, end) for start, end in ranges]
    return SourceFile(entry.key, cut, schema)


def _look(entry: Entry, opener: SourceOpener) -> None:
    with readable(entry.key), opener(entry.key, entry.version) as stream:
        refuse_other_content(entry.key, stream)


def _footer(entry: Entry, opener: SourceOpener) -> pq.FileMetaData:
    try:
        with readable(entry.key), opener(entry.key, entry.version) as stream:
            return read_footer(stream)
    except InputError:
        _look(entry, opener)
        raise


def _row_ranges(footer: pq.FileMetaData, slice_bytes: int) -> Iterator[tuple[int, int]]:
    """Row ranges of whole row groups, of about `slice_bytes` where these are smaller."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    start = end = held = 0
    for rows, size in ((group.num_rows, group.total_byte_size) for group in groups):
        if end > start and held + size > slice_bytes:
            yield start, end
            start, held = end, 0
        end, held = end + rows, held + size
    if end > start:
        yield start, end


def _even_ranges(start: int, end: int, pieces: int) -> Iterator[tuple[int, int]]:
    cuts = [start + (end - start) * piece // max(pieces, 1) for piece in range(pieces + 1)]
    return pairwise(cuts)
