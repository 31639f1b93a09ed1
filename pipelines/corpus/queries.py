"""Reading the queries of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.protocols import Entry, SourceOpener
from shardrank.core.schemas import QUERIES, REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.reader import SourceRow, read_slice
from shardrank.corpus.slices import plan_slices
from shardrank.corpus.sniff import unreadable_file
from shardrank.corpus.validate import Document, Reason, Rejected, check, rejected_table, shown_id

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
    entries: Sequence[Entry], opener: SourceOpener, settings: CorpusSettings
) -> QueryBatch:
    """All queries; of an id that occurs again, the first occurrence counts.

    The same files and rules as for documents, without titles, tombstones and order. Raises what
    `read_slice` raises, and InputError where no row of a file can be read.
    """
    settings = settings.model_copy(update={"order": None})
    queries: dict[str, str] = {}
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
                queries[found.doc_id] = found.text
                places.append((entry.key, row.row))
        if 0 < rows == unreadable:
            raise unreadable_file(entry.key, rows, opener, entry.version)
        rejected.append(rejected_table(entry.key, "encode", aside))
    table = pa.table([list(queries), list(queries.values())], schema=QUERIES)
    found_at = pa.table([list(column) for column in zip(*places, strict=True)] or [[], []], _PLACES)
    return QueryBatch(table, pa.concat_tables([rejected_table("", "", []), *rejected]), found_at)


def _rows(entry: Entry, opener: SourceOpener, settings: CorpusSettings) -> Iterator[SourceRow]:
    for piece in plan_slices([entry], opener, settings.slice_bytes):
        for row in read_slice(piece, opener, settings):
            yield row._replace(title=None, tombstone=None)
