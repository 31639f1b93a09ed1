"""Reading the queries of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.schemas import QUERIES, REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import plan_files, plan_slices
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
    """

    table: pa.Table
    rejected: pa.Table
    places: pa.Table

    def reject(self, found: Mapping[int, Reason]) -> "QueryBatch":
        """Without these queries, by their numbers: what the encoder cannot make use of."""
        numbers = sorted(found)
        names = self.table["query_id"].take(numbers).to_pylist()
        aside = [
            {**place, "doc_id": shown_id(name), "stage": "encode", "reason": str(found[number])}
            for number, name, place in zip(
                numbers, names, self.places.take(numbers).to_pylist(), strict=True
            )
        ]
        rejected = pa.concat_tables([self.rejected, pa.Table.from_pylist(aside, REJECTED)])
        kept = pa.array(n not in found for n in range(self.table.num_rows))
        return QueryBatch(self.table.filter(kept), rejected, self.places.filter(kept))


def read_queries(
    entries: Sequence[Entry],
    opener: SourceOpener,
    settings: CorpusSettings,
    pictures: bool = False,
) -> QueryBatch:
    """All queries; of an id that occurs again, the first occurrence counts.

    The same files and rules as for documents, without titles, tombstones and order. `pictures` says
    that a query may be a picture, where its file has the column of corpus.image. Raises what
    `read_slice` raises, and InputError where no row of a file can be read, or where pictures are
    too many for one batch.
    """
    settings = settings.model_copy(update={"order": None})
    if not pictures:
        settings = settings.model_copy(update={"image": None})
    held = 0
    queries: dict[str, Document] = {}
    places: list[tuple[str, int]] = []
    rejected = []
    for entry in entries:
        aside: list[Rejected] = []
        rows = unreadable = 0
        for row in _rows(entry, opener, settings):
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
    table = _table(list(queries.values()))
    found_at = pa.table([list(column) for column in zip(*places, strict=True)] or [[], []], _PLACES)
    return QueryBatch(table, pa.concat_tables([rejected_table("", "", []), *rejected]), found_at)


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


def _holds(entry: Entry, opener: SourceOpener, settings: CorpusSettings) -> bool:
    """Whether a file of queries has the column of pictures."""
    [file] = plan_files([entry], opener, settings.slice_bytes)
    return file.schema is not None and settings.image in file.schema.names


def _rows(entry: Entry, opener: SourceOpener, settings: CorpusSettings) -> Iterator[SourceRow]:
    if settings.image and not _holds(entry, opener, settings):
        settings = settings.model_copy(update={"image": None})  # queries of texts alone
    for piece in plan_slices([entry], opener, settings.slice_bytes):
        for row in read_slice(piece, opener, settings):
            yield row._replace(title=None, tombstone=None)
