"""Rows of a JSON Lines slice, most of them without a Python value: see `kernels/json_loops.py`.

A line is left to Python's json where it holds a key that no line before held, or anything that the
two might read differently. So keys are reported, and rows refused, as if Python had read them all.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import numpy as np

from shardrank.core.arrays import Bool
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.jsonlines import HEAD, Parsed, check_head, parsed, source_row
from shardrank.corpus.lines import Lines, longest_line, read_blocks
from shardrank.corpus.partitions import Given
from shardrank.corpus.rows import RowBatch, Scratch, SourceRow, Spans, are_plain, unread
from shardrank.corpus.slices import Slice
from shardrank.corpus.sniff import refuse_other_content
from shardrank.kernels.json_loops import ID, MOST_KEYS, OTHER, REFUSES, TEXT, TITLE, read_objects
from shardrank.kernels.line_loops import are_ascii
from shardrank.kernels.memory import BEHIND

#: Rows that Python reads first in a slice that does not begin its file: they say which keys occur.
_FEW = 8


def read_line_batches(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[RowBatch]:
    """The rows that `read_lines` gives, in batches; the first are all unread."""
    limit = longest_line(columns)
    reader = _Reader(columns, plain=not given and are_plain(columns))
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        if piece.start == 0:
            refuse_other_content(piece.uri, stream)
        blocks = read_blocks(piece, stream, limit)
        head, rest = _head(blocks, HEAD if piece.start == 0 else _FEW, limit)
        if piece.start == 0:
            check_head(piece.uri, head, columns, given)
        yield reader.parsed(head)
        for lines in chain(rest, blocks):
            yield reader.batch(lines)


def _head(blocks: Iterator[Lines], rows: int, limit: int) -> tuple[list[Parsed], list[Lines]]:
    """The first rows, and what is left of the block in which the last of them lies."""
    head: list[Parsed] = []
    for lines in blocks:
        for number in range(len(lines.ends)):
            head.extend(parsed(lines, [number], limit))
            if len(head) == rows:
                return head, [lines.behind(number + 1)]
    return head, []


class _Reader:
    """Reads lines by the keys that lines before them held."""

    def __init__(self, columns: CorpusSettings, plain: bool) -> None:
        self._columns, self._plain = columns, plain
        self._limit = longest_line(columns)
        self._keys: dict[bytes, int] = {}
        self._out = Scratch()

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
            rows = parsed(lines, np.flatnonzero(wanted).tolist(), self._limit)
            return map(self._row, rows)

        numbers = lines.at + lines.begins
        if not (self._plain and len(numbers) and self._keys and _is_utf8(lines)):
            return unread(numbers, picked)
        size = int(lines.ends[-1]) + BEHIND
        quoted = [key + b'"' for key in self._keys]
        keys = np.frombuffer(b"".join(quoted) + bytes(BEHIND), np.uint8)
        key_ends = np.array([*accumulate(map(len, quoted))], np.int64)
        roles = np.array([*self._keys.values()], np.int8)
        out, spans = self._out.bytes(size), np.empty((3, 2, len(numbers)), np.int64)
        read = np.empty(len(numbers), np.bool_)
        read_objects(lines.data, lines.begins, lines.ends, keys, key_ends, roles, out, spans, read)
        read &= lines.ends - lines.begins <= self._limit
        ids, titles, texts = (Spans.of(out, begins, ends) for begins, ends in spans)
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


def _is_utf8(lines: Lines) -> bool:
    data = lines.data[lines.begins[0] : lines.ends[-1]]
    try:
        return are_ascii(data) or bool(str(data.data, "utf-8"))
    except UnicodeDecodeError:
        return False
