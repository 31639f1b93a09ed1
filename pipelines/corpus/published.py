"""Rows of a benchmark's files as its authors publish them: TSV, CSV, JSON Lines or Parquet.

MS MARCO's TSV, which others follow, knows no quotes and no escapes: a tab ends a field, a line feed
a row, and what stands behind the last tab is text.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.benchmarks import Rows
from shardrank.core.errors import InputError
from shardrank.core.schemas import is_plain
from shardrank.core.source_files import name_format

Row = Mapping[str, Any]

#: Rows of Parquet that are in memory at once.
_BATCH = 512


def files_of(source: Path, glob: str) -> list[Path]:
    """Files below a folder, sorted. Raises InputError where there is none."""
    found = sorted(path for path in source.glob(glob) if path.is_file())
    if not found:
        raise InputError(
            f"There is no {glob} in {source}.",
            "Give the folder that holds the files as they are published.",
        )
    return found


def rows_of(source: Path, rows: Rows, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of all files, by the names of their columns, of which some are read at least.

    Raises:
        InputError: there is no such file, it lacks a column, or it is not of its form.
    """
    paths = files_of(source, rows.glob)
    needed = [*filter(None, (rows.id, rows.text, rows.image, rows.of_part)), *columns]
    if rows.form == "rows":
        paths = [path for path in paths if name_format(str(path))]
        if not paths:
            raise InputError(f"{rows.glob} in {source} is no file of JSON Lines or Parquet.", "")
    for path in paths:
        yield from _read(path, rows, list(dict.fromkeys(needed)))


def _read(path: Path, rows: Rows, needed: Sequence[str]) -> Iterator[Row]:
    try:
        if rows.form == "tsv":
            yield from _tsv(path, rows.columns)
        elif rows.form == "csv":
            yield from _csv(path, needed)
        elif (name_format(str(path)) or ("",))[0] == "parquet":
            yield from _parquet(path, [*needed, *filter(None, [rows.title])], needed)
        else:
            yield from _lines(path, needed)
    except (UnicodeDecodeError, ValueError, OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Copy it again.") from error


def _tsv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """A first line that begins with the first column's name is a header."""
    with _text(path, newline="\n") as file:
        for number, line in enumerate(file, 1):
            fields = line.rstrip("\r\n").split("\t", len(columns) - 1)
            if number == 1 and fields[0] == columns[0]:
                continue
            if len(fields) != len(columns):
                raise InputError(
                    f"{path}, line {number}: expected {', '.join(columns)}, found {line[:200]!r}.",
                    "Give the file as it is published: fields are parted by tabs.",
                )
            yield dict(zip(columns, fields, strict=True))


def _csv(path: Path, needed: Sequence[str]) -> Iterator[Row]:
    with _text(path, newline="") as file:
        reader = csv.DictReader(file, strict=True)
        _require(path, reader.fieldnames or (), needed)
        try:
            yield from reader
        except csv.Error as error:
            raise InputError(
                f"{path}, line {reader.line_num}: {error}.", "Copy it again."
            ) from error


def _lines(path: Path, needed: Sequence[str]) -> Iterator[Row]:
    with _text(path, newline="\n") as file:
        for line in filter(str.strip, file):
            row = json.loads(line)
            _require(path, row if isinstance(row, dict) else (), needed)
            yield row


def _parquet(path: Path, wanted: Sequence[str], needed: Sequence[str]) -> Iterator[Row]:
    """Types are checked before any value is touched."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _require(path, schema.names, needed)
        names = [name for name in wanted if name in schema.names]
        strange = [name for name in names if not is_plain(schema.field(name).type)]
        if strange:
            raise InputError(f"{path}: column {strange[0]!r} holds an extension type.", "")
        for batch in file.iter_batches(_BATCH, columns=names, use_threads=False):
            yield from batch.to_pylist()


def _text(path: Path, newline: str) -> TextIOWrapper:
    """Of a file that may be packed, as its name says."""
    stream = pa.input_stream(str(path), compression="detect")
    return TextIOWrapper(BufferedReader(stream), "utf-8-sig", newline=newline)


def _require(path: Path, there: Sequence[str] | Mapping[str, Any], needed: Sequence[str]) -> None:
    lacking = [name for name in needed if name not in there]
    if lacking:
        raise InputError(
            f"{path} has no column {lacking[0]!r}; it has {', '.join(there) or 'none'}.",
            "Give the files as they are published.",
        )
