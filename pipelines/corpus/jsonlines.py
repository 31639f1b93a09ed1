"""Rows of a JSON Lines slice. https://jsonlines.org"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.protocols import SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.lines import Lines, longest_line, read_blocks
from shardrank.corpus.partitions import Given
from shardrank.corpus.rows import SourceRow
from shardrank.corpus.slices import Slice
from shardrank.corpus.sniff import refuse_other_content

#: Rows at the head of a file among which a column must occur once.
HEAD = 100

Parsed = tuple[int, dict[str, Any], str]


def read_lines(
    piece: Slice, opener: SourceOpener, columns: CorpusSettings, given: Given
) -> Iterator[SourceRow]:
    """See `shardrank.corpus.reader.read_slice`. Blank lines are no rows."""
    limit = longest_line(columns)
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        if piece.start == 0:
            refuse_other_content(piece.uri, stream)
        blocks = read_blocks(piece, stream, limit)
        rows = (row for block in blocks for row in parsed(block, range(len(block.ends)), limit))
        head = list(islice(rows, HEAD))
        if piece.start == 0:
            check_head(piece.uri, head, columns, given)
        for found in chain(head, rows):
            yield source_row(found, columns)


def parsed(lines: Lines, numbers: Iterable[int], limit: int) -> Iterator[Parsed]:
    """Lines by their numbers; blank ones are no rows, and those over `limit` bytes too large."""
    for number in numbers:
        at = lines.at + int(lines.begins[number])
        if lines.ends[number] - lines.begins[number] > limit:
            yield at, {}, "document_too_large"
            continue
        line = lines.line(number)
        if line and not line.isspace():
            yield _parse(at, line)


def source_row(found: Parsed, columns: CorpusSettings) -> SourceRow:
    """The row of a line."""
    row, values, problem = found
    names = (columns.id, columns.title, columns.text, columns.tombstone, columns.order)
    doc_id, title, text, gone, order = (values.get(n) if n else None for n in names)
    return SourceRow(row, doc_id, title, text, problem, gone, order, values.keys())


def _parse(at: int, line: bytes) -> Parsed:
    """A line's offset, its object, and what is wrong with it."""
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
