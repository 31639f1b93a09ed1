"""Reading the queries of a batch."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.schemas import QUERIES, REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.parquet_rows import may_be_text
from shardrank.corpus.query_parts import parent_of, require_parts, split_parts
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import plan_files
from shardrank.corpus.sniff import unreadable_file
from shardrank.corpus.validate import Document, Reason, Rejected, check, rejected_table, shown_id

#: Bytes of the pictures of one batch of queries, which who plans a ranking holds.
MOST_PICTURE_BYTES = 1 << 30

_PLACES = pa.schema([REJECTED.field("source"), REJECTED.field("row")])


@dataclass(frozen=True)
class QueryBatch:
    """Queries (QUERIES) in the order of their files, and the rows set aside (REJECTED).

    Attributes:
        places: beside each query, source and row, as REJECTED has them.
        parts: queries that are parts of these, in the order of these, with a column "parent", the
            id of the query; none: no query is a part.
    """

    table: pa.Table
    rejected: pa.Table
    places: pa.Table
    parts: "QueryBatch | None" = None

    @property
    def set_aside(self) -> pa.Table:
        """REJECTED, of queries and of their parts."""
        parts = [self.parts.rejected] if self.parts else []
        return pa.concat_tables([self.rejected, *parts])

    def reject(self, found: Mapping[int, Reason]) -> "QueryBatch":
        """Without these queries, by their numbers: what the encoder cannot make use of."""
        numbers = pa.array(sorted(found), pa.int64())
        names = self.table["query_id"].take(numbers).to_pylist()
        places = self.places.take(numbers).to_pylist()
        aside = [
            {**place, "doc_id": shown_id(name), "stage": "encode", "reason": str(found[number])}
            for number, name, place in zip(sorted(found), names, places, strict=True)
        ]
        rejected = pa.concat_tables([self.rejected, pa.Table.from_pylist(aside, REJECTED)])
        kept = pa.array([n not in found for n in range(self.table.num_rows)], pa.bool_())
        parts = self.parts.without_parents(set(names)) if self.parts else None
        return QueryBatch(self.table.filter(kept), rejected, self.places.filter(kept), parts)

    def without_parents(self, gone: Set[str]) -> "QueryBatch":
        """Parts of other queries, without those of queries that are not asked."""
        parents = self.table["parent"].to_pylist()
        return self.reject(
            {n: Reason.UNKNOWN_PARENT for n, parent in enumerate(parents) if parent in gone}
        )


def read_queries(
    entries: Sequence[Entry],
    opener: SourceOpener,
    settings: CorpusSettings,
    pictures: bool = False,
    parent: str | None = None,
) -> QueryBatch:
    """All queries; of an id that occurs again, the first occurrence counts.

    The same files and rules as for documents, without titles, tombstones and order. `pictures` says
    that a query may be a picture, where its file has the column of corpus.image; `parent` is the
    column that holds the id of the query of which a row is a part. Raises what `read_slice` raises,
    and InputError where no row of a file can be read, where pictures are too many for one batch, or
    where there are no parts.
    """
    # A query has no title, and the id of its parent is read as one.
    settings = settings.model_copy(update={"order": None, "title": parent or settings.title})
    if not pictures:
        settings = settings.model_copy(update={"image": None})
    held = 0
    queries: dict[str, Document] = {}
    places: list[tuple[str, int]] = []
    rejected = []
    for entry in entries:
        aside: list[Rejected] = []
        rows = unreadable = 0
        for row in _rows(entry, opener, settings, parent):
            rows, unreadable = rows + 1, unreadable + (row.problem != "")
            found = check(row, settings)
            if isinstance(found, Document) and found.doc_id in queries:
                found = Reason.DUPLICATE_ID
            if isinstance(found, Reason):
                aside.append(Rejected(row.row, shown_id(row.doc_id), found))
            elif isinstance(found, Document):
                held += len(found.picture or b"")
                _refuse_too_many(held)
                queries[found.doc_id] = found
                places.append((entry.key, row.row))
        if 0 < rows == unreadable:
            raise unreadable_file(entry.key, rows, opener, entry.version)
        rejected.append(rejected_table(entry.key, "encode", aside))
    found_at = pa.table([list(column) for column in zip(*places, strict=True)] or [[], []], _PLACES)
    aside = pa.concat_tables([rejected_table("", "", []), *rejected])
    every = QueryBatch(_table(list(queries.values())), aside, found_at)
    return _parted(every, queries, parent) if parent else every


def _parted(every: QueryBatch, queries: Mapping[str, Document], parent: str) -> QueryBatch:
    """The queries that are no part of another, and those that are."""
    split = split_parts(queries)
    whole, parts, lost = (pa.array(numbers, pa.int64()) for numbers in split)
    require_parts(parent, [*parts, *lost])
    rest = every.reject(dict.fromkeys(lost.to_pylist(), Reason.UNKNOWN_PARENT))
    named = pa.array([each.title for each in queries.values()], pa.string())
    table = every.table.append_column("parent", named).take(parts)
    none = rejected_table("", "", [])
    return QueryBatch(
        every.table.take(whole),
        rest.rejected,
        every.places.take(whole),
        QueryBatch(table, none, every.places.take(parts)),
    )


def _table(queries: Sequence[Document]) -> pa.Table:
    """QUERIES, with their pictures where any has one."""
    texts = [[query.doc_id for query in queries], [query.text for query in queries]]
    table = pa.table(texts, schema=QUERIES)
    pictures = [query.picture for query in queries]
    if all(picture is None for picture in pictures):
        return table
    return table.append_column("picture", pa.array(pictures, pa.binary()))


def _refuse_too_many(held: int) -> None:
    if held > MOST_PICTURE_BYTES:
        raise InputError(
            f"The queries' pictures take more than {MOST_PICTURE_BYTES >> 20:,} MiB.",
            "Rank them in several batches.",
        )


def _rows(
    entry: Entry, opener: SourceOpener, settings: CorpusSettings, parent: str | None
) -> Iterator[SourceRow]:
    """A file's rows, whose title is the id of their parent, if there may be one."""
    [file] = plan_files([entry], opener, settings.slice_bytes)
    if file.schema is not None and parent in file.schema.names:
        _check_parent(entry, file.schema, str(parent))
    if settings.image and (file.schema is None or settings.image not in file.schema.names):
        settings = settings.model_copy(update={"image": None})  # queries of texts alone
    for piece in file.slices:
        for row in read_slice(piece, opener, settings):
            whole = row._replace(tombstone=None)
            yield parent_of(whole) if parent else whole._replace(title=None)


def _check_parent(entry: Entry, schema: pa.Schema, name: str) -> None:
    """Raise InputError where parents' ids are something else than text."""
    kind = schema.field(name).type
    if not may_be_text(kind):
        raise InputError(
            f"{entry.key}: column {name!r} (search.parent) holds {kind}, not text.",
            "Write the ids of queries and of their parents as text.",
        )
