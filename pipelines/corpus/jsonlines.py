"""Rows of a JSON Lines slice. https://jsonlines.org"""

import io
import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO, cast

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.partitions import Given
from shardrank.corpus.rows import SourceRow
from shardrank.corpus.slices import Slice
from shardrank.corpus.sniff import refuse_other_content

BUFFER = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: JSON may spell one byte as six (\u0041); what is longer than that cannot fit the limit.
_JSON_INFLATION = 6
_LINE_SLACK = 1 << 16
#: Rows at the head of a file among which a column must occur once.
HEAD = 100

Line = tuple[int, bytes | None]
Parsed = tuple[int, dict[str, Any], str]


def read_lines(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[SourceRow]:
    """See `shardrank.corpus.reader.read_slice`. Blank lines are no rows."""
    limit = longest_line(columns)
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        if piece.start == 0:
            refuse_other_content(piece.uri, stream)
        rows = (parse(at, line) for at, line in _lines(piece, stream, limit))
        head = list(islice(rows, HEAD))
        if piece.start == 0:
            check_head(piece.uri, head, columns, given)
        for found in chain(head, rows):
            yield source_row(found, columns)


def longest_line(columns: CorpusSettings) -> int:
    """Bytes of a line beyond which its document is too large, however it is written."""
    return columns.max_document_bytes * _JSON_INFLATION + _LINE_SLACK


def source_row(found: Parsed, columns: CorpusSettings) -> SourceRow:
    """The row of a line."""
    row, values, problem = found
    names = (columns.id, columns.title, columns.text, columns.tombstone, columns.order)
    doc_id, title, text, gone, order = (values.get(n) if n else None for n in names)
    return SourceRow(row, doc_id, title, text, problem, gone, order, values.keys())


def _lines(piece: Slice, stream: BinaryIO, limit: int) -> Iterator[Line]:
    """(offset, line) of the lines that begin in the slice; None for one over `limit` bytes."""
    with buffered(stream, piece.compression) as source:
        at = first_line(piece, source)
        while piece.compression or at < piece.end:
            size, line = _line(source, limit)
            if size == 0:
                check_end(piece, at)
                return
            if at == 0 and line is not None:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line is None or not (line.isspace() or line == b""):
                yield at, line
            at += size


def first_line(piece: Slice, stream: io.BufferedReader) -> int:
    """Moves to the first line of the slice; its offset."""
    if piece.start == 0:
        return 0
    # The line that holds the byte before the slice belongs to the slice before.
    stream.seek(piece.start - 1)
    return piece.start - 1 + _line(stream, 0)[0]


def buffered(stream: BinaryIO, compression: str) -> io.BufferedReader:
    """The file's bytes, decompressed."""
    raw = cast(io.RawIOBase, stream)
    if compression:
        # Arrow's decompression notices a stream that ends too early; zstandard's does not.
        native = pa.PythonFile(cast(io.IOBase, stream), mode="r")
        raw = cast(io.RawIOBase, pa.CompressedInputStream(native, compression))
    return io.BufferedReader(raw, BUFFER)


def _line(stream: io.BufferedReader, limit: int) -> tuple[int, bytes | None]:
    """Bytes read, and the line, or None where it is longer than `limit` (then it is skipped)."""
    line = stream.readline(limit + 1)
    if len(line) <= limit or line.endswith(b"\n"):
        return len(line), line
    size, piece = len(line), line
    while piece and not piece.endswith(b"\n"):
        piece = stream.readline(BUFFER)
        size += len(piece)
    return size, None


def parse(at: int, line: bytes | None) -> Parsed:
    """A line's offset, its object, and what is wrong with it; None is one that is too long."""
    if line is None:
        return at, {}, "document_too_large"
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return at, {}, "invalid_utf8"
    except (ValueError, RecursionError):
        return at, {}, "malformed_json"
    return (at, value, "") if isinstance(value, dict) else (at, {}, "malformed_json")


def check_head(uri: str, head: Sequence[Parsed], columns: CorpusSettings, given: Given) -> None:
    """Refuses a file whose first rows all lack a column: that is a setting, not the rows."""
    found = {name: None for _, values, problem in head if not problem for name in values}
    found |= dict.fromkeys(given)
    if all(problem for _, _, problem in head):
        return
    gone = columns.tombstone in found  # a file of nothing but tombstones needs no text
    for setting, name in (("id", columns.id), ("text", columns.text), ("order", columns.order)):
        if name and name not in found and not (gone and setting == "text"):
            raise InputError(
                f"{uri} has no column {name!r}; its rows hold {', '.join(found) or 'nothing'}.",
                f"Name the right one: --set corpus.{setting}=NAME.",
            )


def check_end(piece: Slice, size: int) -> None:
    """Refuses a file that ends before its slice does."""
    if not piece.compression and size < piece.end:
        hint = "Do not change sources during a run; run again."
        raise InputError(f"{piece.uri} has {size} bytes, fewer than when it was listed.", hint)
