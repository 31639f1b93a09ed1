"""First pass over a slice: which documents it holds, without keeping any text."""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from shardrank.core.fingerprint import content_hash
from shardrank.core.protocols import SourceOpener
from shardrank.core.schemas import DOCUMENT_KEYS
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.key_order import by_hash
from shardrank.corpus.plain_rows import plain_keys
from shardrank.corpus.reader import read_slice_batches
from shardrank.corpus.rows import Scratch, SourceRow
from shardrank.corpus.slices import Slice
from shardrank.corpus.validate import (
    Document,
    Reason,
    Rejected,
    Tombstone,
    check,
    rejected_table,
    shown_id,
)

#: Names of columns that a slice reports.
_MOST_NAMES = 100
#: Keys wait as Python values for so many rows: there they take ten times the memory.
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class ScanResult:
    """`rows` = rows of `keys` (DOCUMENT_KEYS) + rows of `rejected` (REJECTED).

    Attributes:
        unreadable: how many rows could not be read at all, whatever they hold.
        names: of columns, as far as the rows say them (JSON Lines); the first ones, and those of
            title and tombstone wherever they occur.
        orders: the kinds of values that corpus.order found: first letters of order keys.
    """

    rows: int
    keys: pa.Table
    rejected: pa.Table
    unreadable: int
    names: list[str]
    orders: str


def scan_slice(piece: Slice, opener: SourceOpener, settings: CorpusSettings) -> ScanResult:
    """Keys of the slice's documents, sorted by (id_hash, doc_id, row), and its rejected rows.

    An id that occurs twice is in the keys twice: only all slices together can tell which row
    counts. Raises what `read_slice` raises.
    """
    blocks: list[pa.Table] = []
    found, scratch = _Judged(settings), Scratch()
    for batch in read_slice_batches(piece, opener, settings):
        plain, keys = plain_keys(batch, settings, scratch)
        blocks.append(keys)
        accepted = found.documents(batch.rows(~plain))
        while block := [_key(document) for document in islice(accepted, _BLOCK_ROWS)]:
            blocks.append(pa.Table.from_pylist(block, DOCUMENT_KEYS))
    keys = pa.concat_tables([DOCUMENT_KEYS.empty_table(), *blocks])
    return ScanResult(
        rows=keys.num_rows + len(found.rejected),
        keys=by_hash(keys, ("doc_id", "row")),
        rejected=rejected_table(piece.uri, "scan", found.rejected),
        unreadable=found.unreadable,
        names=found.names.found(),
        orders="".join(sorted(found.orders)),
    )


class _Judged:
    """What is noted of a slice's rows while they pass."""

    def __init__(self, settings: CorpusSettings) -> None:
        self._settings = settings
        self.rejected: list[Rejected] = []
        self.unreadable = 0
        self.orders = set[str]()
        self.names = _Names({settings.title, settings.tombstone or ""})

    def documents(self, rows: Iterator[SourceRow]) -> Iterator[Document | Tombstone]:
        """Those rows that are accepted."""
        for row in rows:
            self.unreadable += row.problem != ""
            self.names.add(row.names)
            found = check(row, self._settings)
            if isinstance(found, Reason):
                self.rejected.append(Rejected(row.row, shown_id(row.doc_id), found))
            else:
                self.orders.add(found.order[:1])
                yield found


class _Names:
    """Names of columns; of any number of them only so many are kept."""

    def __init__(self, wanted: Set[str]) -> None:
        self._wanted = wanted
        self._seen: dict[str, None] = {}

    def add(self, names: Set[str]) -> None:
        few = len(self._seen) < _MOST_NAMES
        self._seen.update(dict.fromkeys(names if few else self._wanted & names))

    def found(self) -> list[str]:
        first = dict.fromkeys(
            [*list(self._seen)[:_MOST_NAMES], *(self._wanted & self._seen.keys())]
        )
        return [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in first]


def _key(found: Document | Tombstone) -> dict[str, int | str]:
    digest = ""
    if isinstance(found, Document):
        digest = content_hash(found.title, found.text, found.picture)
    return {
        "id_hash": id_hash(found.doc_id),
        "doc_id": found.doc_id,
        "content_hash": digest,
        "order": found.order,
        "row": found.row,
    }


def id_hash(doc_id: str) -> int:
    """The first 8 bytes of the id's sha256, big-endian: spreads ids evenly over hash ranges."""
    return int.from_bytes(hashlib.sha256(doc_id.encode("utf-8")).digest()[:8], "big")
