"""Documents that a query names as none of its hits, by a column of the queries' files.

They are read by a second look at the files, which only who asks for them pays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from shardrank.core.errors import InputError
from shardrank.core.excluded import EXCLUDED, LISTS
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.failures import readable
from shardrank.corpus.footer import open_parquet, row_groups
from shardrank.corpus.jsonlines import parsed
from shardrank.corpus.lines import longest_line, read_blocks
from shardrank.corpus.parquet_rows import may_be_text
from shardrank.corpus.queries import QueryBatch
from shardrank.corpus.slices import Slice, plan_files
from shardrank.corpus.validate import Reason

#: A row's source and number, as REJECTED has them.
Place = tuple[str, int]


def with_excluded(
    batch: QueryBatch,
    entries: Sequence[Entry],
    opener: SourceOpener,
    settings: CorpusSettings,
    column: str,
) -> QueryBatch:
    """The batch with a column EXCLUDED beside its queries; a part has its query's list.

    A query whose list is none, but a text or a number, is set aside (`exclude_not_ids`).

    Args:
        batch: as `read_queries` gives it.
        entries: the files that it was read from.
        opener: opens them.
        settings: how they are read.
        column: lists of ids, texts or whole numbers; null, or a row without it: nothing.

    Raises:
        InputError: no file has the column, one of Parquet holds something else, or a part of a
            query has a list of its own.
    """
    named = {
        (entry.key, row): value
        for entry in entries
        for row, value in _values(entry, opener, settings, column)
    }
    if not named:
        raise InputError(
            f"search.exclude = {column!r}, and no query has such a column.",
            "Name the column that lists the documents to leave out, or leave search.exclude out.",
        )
    lists = [_ids(named.get(place)) for place in _places(batch)]
    wrong = {n: Reason.EXCLUDE_NOT_IDS for n, ids in enumerate(lists) if ids is None}
    whole = [ids or [] for ids in lists]
    parts = _parts(batch, whole, named, column)
    table = batch.table.append_column(EXCLUDED, pa.array(whole, LISTS))
    return replace(batch, table=table, parts=parts).reject(wrong)


def _parts(
    batch: QueryBatch, lists: Sequence[list[str]], named: Mapping[Place, Any], column: str
) -> QueryBatch | None:
    """The parts, each with the list of its query."""
    if batch.parts is None:
        return None
    for name, place in zip(batch.parts.table["query_id"], _places(batch.parts), strict=True):
        if named.get(place):
            raise InputError(
                f"The query {name.as_py()!r} is a part of another, and has a list of its own in "
                f"{column!r} (search.exclude).",
                "Give the list to the query that it is a part of.",
            )
    of = dict(zip(batch.table["query_id"].to_pylist(), lists, strict=True))
    theirs = [of[parent] for parent in batch.parts.table["parent"].to_pylist()]
    table = batch.parts.table.append_column(EXCLUDED, pa.array(theirs, LISTS))
    return replace(batch.parts, table=table)


def _places(batch: QueryBatch) -> Iterator[Place]:
    return zip(*(batch.places[name].to_pylist() for name in ("source", "row")), strict=True)


def _ids(value: Any) -> list[str] | None:
    """Ids as texts, each once; None where the value is no list of ids."""
    if value is None:
        return []
    if not isinstance(value, list):
        return None
    texts = [str(each) if type(each) is int else each for each in value]
    return list(dict.fromkeys(texts)) if all(isinstance(each, str) for each in texts) else None


def _values(
    entry: Entry, opener: SourceOpener, settings: CorpusSettings, column: str
) -> Iterator[tuple[int, Any]]:
    """The number of each row that has the column, and what stands there."""
    [file] = plan_files([entry], opener, settings.slice_bytes)
    read = _of_parquet if file.schema is not None else _of_lines
    for piece in file.slices:
        yield from read(piece, opener, settings, column)


def _of_lines(
    piece: Slice, opener: SourceOpener, settings: CorpusSettings, column: str
) -> Iterator[tuple[int, Any]]:
    limit = longest_line(settings)
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        for block in read_blocks(piece, stream, limit):
            for row, values, _ in parsed(block, range(len(block.ends)), limit):
                if column in values:
                    yield row, values[column]


def _of_parquet(
    piece: Slice, opener: SourceOpener, settings: CorpusSettings, column: str
) -> Iterator[tuple[int, Any]]:
    rows = (piece.start, piece.end)
    with readable(piece.uri), opener(piece.uri, piece.version) as stream:
        file = open_parquet(stream, [column], rows, settings.slice_bytes)
        if column not in file.schema_arrow.names:
            return
        _check(piece.uri, file.schema_arrow.field(column).type, column)
        groups = row_groups(file.metadata, rows)
        batches = file.iter_batches(row_groups=groups, columns=[column], use_threads=False)
        for batch in batches:
            yield from enumerate(_texts(piece.uri, batch.column(0), column), rows[0])
            rows = (rows[0] + batch.num_rows, rows[1])


def _texts(uri: str, lists: pa.Array, column: str) -> list[Any]:
    try:
        return lists.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{uri}: column {column!r} (search.exclude) holds ids that are no UTF-8: {error}.", ""
        ) from error


def _check(uri: str, kind: pa.DataType, column: str) -> None:
    """Types are checked before any value is touched."""
    lists = pat.is_list(kind) or pat.is_large_list(kind) or pat.is_null(kind)
    inner = kind.value_type if lists and not pat.is_null(kind) else pa.null()
    if not lists or not (may_be_text(inner) or pat.is_integer(inner)) or _is_bytes(inner):
        raise InputError(
            f"{uri}: column {column!r} (search.exclude) holds {kind}, not lists of ids.",
            "Convert it to lists of texts or of whole numbers.",
        )


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pat.is_binary, pat.is_large_binary, pat.is_binary_view)
    return any(test(kind) for test in tests)
