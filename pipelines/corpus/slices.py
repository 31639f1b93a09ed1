"""Cutting source files into slices: the units of reading."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pipelines.core.errors import InputError
from pipelines.core.protocols import Entry, SourceOpener
from pipelines.core.sources import SUPPORTED_NAMES, Compression, Format, name_format
from pipelines.corpus.failures import readable
from pipelines.corpus.footer import read_footer

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

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Slice":
        return cls(**value)

    def json(self) -> dict[str, Any]:
        return asdict(self)


def source_format(uri: str) -> tuple[Format, Compression]:
    """Format and compression by the file's name. Raises InputError where it is unsupported."""
    found = name_format(uri)
    if found is None:
        raise InputError(
            f"{uri} is neither Parquet nor JSON Lines by its name.",
            f"Supported are {SUPPORTED_NAMES}.",
        )
    return found


def plan_slices(entries: Sequence[Entry], opener: SourceOpener, slice_bytes: int) -> list[Slice]:
    """All slices of the files, in the order given and then by position.

    Only the footers of Parquet files are read. A slice holds about `slice_bytes` (of Parquet:
    uncompressed) bytes; a row group that is larger than that is a slice of its own.

    Raises:
        InputError: a file is no Parquet file, its name says neither format, or it changed since
            it was listed.
    """
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        planned = pool.map(lambda entry: _plan_file(entry, opener, slice_bytes), entries)
        return [piece for pieces in planned for piece in pieces]


def _plan_file(entry: Entry, opener: SourceOpener, slice_bytes: int) -> list[Slice]:
    kind, compression = source_format(entry.key)
    if kind == "parquet":
        ranges = _row_ranges(_row_groups(entry, opener), slice_bytes)
    elif compression:
        ranges = iter([(0, entry.bytes)] if entry.bytes else [])
    else:
        ranges = _even_ranges(0, entry.bytes, -(-entry.bytes // slice_bytes))
    return [Slice(entry.key, entry.version, kind, compression, start, end) for start, end in ranges]


def _row_groups(entry: Entry, opener: SourceOpener) -> list[tuple[int, int]]:
    """(rows, uncompressed bytes) of each row group, from the footer."""
    with readable(entry.key), opener(entry.key, entry.version) as stream:
        footer = read_footer(stream)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _row_ranges(groups: Sequence[tuple[int, int]], slice_bytes: int) -> Iterator[tuple[int, int]]:
    """Row ranges of whole row groups, of about `slice_bytes` where these are smaller."""
    start = end = held = 0
    for rows, size in groups:
        if held and held + size > slice_bytes:
            yield start, end
            start, held = end, 0
        end, held = end + rows, held + size
    if end > start:
        yield start, end


def _even_ranges(start: int, end: int, pieces: int) -> Iterator[tuple[int, int]]:
    cuts = [start + (end - start) * piece // max(pieces, 1) for piece in range(pieces + 1)]
    return pairwise(cuts)
