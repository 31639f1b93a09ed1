"""Rows of a JSON Lines slice, most of them without a Python value: see `kernels/json_loops.py`.

A line is left to Python's json where it holds a key that no line before held, or anything that the
two might read differently. So keys are reported, and rows refused, as if Python had read them all.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import BinaryIO

import numpy as np

from shardrank.core.arrays import Bool, Int64
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.jsonlines import (
    BUFFER,
    BYTE_ORDER_MARK,
    HEAD,
    Parsed,
    buffered,
    check_end,
    check_head,
    first_line,
    longest_line,
    parse,
    source_row,
)
from shardrank.corpus.partitions import Given
from shardrank.corpus.rows import RowBatch, SourceRow, Spans, are_plain, unread
from shardrank.corpus.slices import Slice
from shardrank.corpus.sniff import refuse_other_content
from shardrank.kernels.json_loops import ID, MOST_KEYS, OTHER, REFUSES, TEXT, TITLE, read_objects
from shardrank.kernels.memory import BEHIND

#: Bytes of lines that are read at once.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Lines:
    """Whole lines of a file, blank ones too.

    Attributes:
        data: their bytes.
        at: where in the file these begin.
        begins, ends: int64[n], of each line in them, without what ends it.
    """

    data: bytes
    at: int
    begins: Int64
    ends: Int64

    @classmethod
    def of(cls, data: bytes, at: int) -> "Lines":
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        return cls(data, at, np.append(0, ends[:-1] + 1), ends)

    def behind(self, number: int) -> "Lines":
        """The lines from that one on."""
        return Lines(self.data, self.at, self.begins[number:], self.ends[number:])

    def parsed(self, numbers: Iterable[int], limit: int) -> Iterator[tuple[int, Parsed]]:
        """Lines by their numbers; blank ones are no rows."""
        for number in numbers:
            begin, end = int(self.begins[number]), int(self.ends[number])
            line, at = self.data[begin:end], self.at + begin
            line = line.removeprefix(BYTE_ORDER_MARK) if at == 0 else line
            if end - begin > limit:
                yield number, parse(at, None)
            elif line and not line.isspace():
                yield number, parse(at, line)


def read_line_batches(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[RowBatch]:
    """The rows that `read_lines` gives, in batches; the first are all unread."""
    limit = longest_line(columns)
    reader = _Reader(columns, plain=not given and are_plain(columns))
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        if piece.start == 0:
            refuse_other_content(piece.uri, stream)
        blocks = _blocks(piece, stream, limit)
        head, rest = _head(blocks, limit)
        if piece.start == 0:
            check_head(piece.uri, head, columns, given)
        yield reader.parsed(head)
        for lines in chain([rest], blocks):
            yield reader.batch(lines)


def _blocks(piece: Slice, stream: BinaryIO, limit: int) -> Iterator[Lines]:
    """All lines that begin in the slice, about _BLOCK bytes at once. Of a line over `limit` bytes
    so much is kept as shows that it is one."""
    with buffered(stream, piece.compression) as source:
        at = first_line(piece, source)
        while piece.compression or at < piece.end:
            size = _BLOCK if piece.compression else min(_BLOCK, piece.end - at)
            data = source.read(size)
            if not data:
                check_end(piece, at)
                return
            if not data.endswith(b"\n"):
                data += source.readline(limit + 1)
            yield Lines.of(data, at)
            at += len(data)
            if not data.endswith(b"\n"):
                at += _skip_line(source)


def _skip_line(source: io.BufferedReader) -> int:
    """Bytes up to the line's end."""
    size, piece = 0, b""
    while not piece.endswith(b"\n") and (piece := source.readline(BUFFER)):
        size += len(piece)
    return size


def _head(blocks: Iterator[Lines], limit: int) -> tuple[list[Parsed], Lines]:
    """The first HEAD rows, and what is left of the block in which the last of them lies."""
    head: list[Parsed] = []
    lines = Lines(b"", 0, np.empty(0, np.int64), np.empty(0, np.int64))
    for lines in blocks:
        for number, row in lines.parsed(range(len(lines.begins)), limit):
            head.append(row)
            if len(head) == HEAD:
                return head, lines.behind(number + 1)
    return head, lines.behind(len(lines.begins))


class _Reader:
    """Reads lines by the keys that lines before them held."""

    def __init__(self, columns: CorpusSettings, plain: bool) -> None:
        self._columns, self._plain = columns, plain
        self._limit = longest_line(columns)
        self._keys: dict[bytes, int] = {}

    def parsed(self, rows: Sequence[Parsed]) -> RowBatch:
        """These rows, unread."""

        def picked(wanted: Bool) -> Iterator[SourceRow]:
            return (self._row(rows[number]) for number in np.flatnonzero(wanted).tolist())

        for row in rows:
            self._learn(row)
        return unread(np.array([at for at, _, _ in rows], np.int64), picked)

    def batch(self, lines: Lines) -> RowBatch:
        """These lines; what is blank is neither read nor a row."""

        def picked(wanted: Bool) -> Iterator[SourceRow]:
            numbers = np.flatnonzero(wanted).tolist()
            return (self._row(row) for _, row in lines.parsed(numbers, self._limit))

        numbers = lines.at + lines.begins
        if not (self._plain and len(numbers) and self._keys and _is_utf8(lines.data)):
            return unread(numbers, picked)
        data = np.frombuffer(lines.data + bytes(BEHIND), np.uint8)
        quoted = [key + b'"' for key in self._keys]
        keys = np.frombuffer(b"".join(quoted) + bytes(BEHIND), np.uint8)
        key_ends = np.array([*accumulate(map(len, quoted))], np.int64)
        roles = np.array([*self._keys.values()], np.int8)
        out, spans = (
            np.empty(len(data) + BEHIND, np.uint8),
            np.empty((3, 2, len(numbers)), np.int64),
        )
        read = np.empty(len(numbers), np.bool_)
        read_objects(data, lines.begins, lines.ends, keys, key_ends, roles, out, spans, read)
        read &= lines.ends - lines.begins <= self._limit
        ids, titles, texts = (Spans(out, begins, ends) for begins, ends in spans)
        return RowBatch(numbers, ids, titles, texts, read, picked)

    def _row(self, row: Parsed) -> SourceRow:
        self._learn(row)
        return source_row(row, self._columns)

    def _learn(self, row: Parsed) -> None:
        """The row's keys, as bytes that stand for nothing else."""
        for key in row[1]:
            if len(self._keys) == MOST_KEYS:
                return
            if key.isprintable() and '"' not in key and "\\" not in key:
                self._keys.setdefault(key.encode(), self._role(key))

    def _role(self, key: str) -> int:
        if self._columns.tombstone == key:
            return REFUSES
        roles = {self._columns.id: ID, self._columns.title: TITLE, self._columns.text: TEXT}
        return roles.get(key, OTHER)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
