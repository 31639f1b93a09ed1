"""First pass over a slice: which documents it holds, without keeping any text."""

import hashlib
from collections.abc import Set
from dataclasses import dataclass

import pyarrow as pa

from pipelines.core.fingerprint import content_hash
from pipelines.core.protocols import SourceOpener
from pipelines.core.schemas import DOCUMENT_KEYS
from pipelines.core.settings import CorpusSettings
from pipelines.corpus.reader import read_slice
from pipelines.corpus.slices import Slice
from pipelines.corpus.validate import (
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


@dataclass(frozen=True)
class ScanResult:
    """`rows` = rows of `keys` (DOCUMENT_KEYS) + rows of `rejected` (REJECTED).

    Attributes:
        unreadable: how many rows could not be read at all, whatever they hold.
        names: of columns, as far as the rows say them (JSON Lines); the first ones, and those of
            title and tombstone wherever they occur.
    """

    rows: int
    keys: pa.Table
    rejected: pa.Table
    unreadable: int
    names: list[str]


def scan_slice(piece: Slice, opener: SourceOpener, settings: CorpusSettings) -> ScanResult:
    """Keys of the slice's documents, sorted by (id_hash, doc_id, row), and its rejected rows.

    An id that occurs twice is in the keys twice: only all slices together can tell which
    occurrence is the first. Raises what `read_slice` raises.
    """
    keys: list[dict[str, int | str]] = []
    rejected: list[Rejected] = []
    unreadable, names = 0, _Names({settings.title, settings.tombstone or ""})
    for row in read_slice(piece, opener, settings):
        unreadable += row.problem != ""
        names.add(row.names)
        found = check(row, settings)
        if isinstance(found, Reason):
            rejected.append(Rejected(row.row, shown_id(row.doc_id), found))
        else:
            keys.append(_key(found))
    order = [(name, "ascending") for name in ("id_hash", "doc_id", "row")]
    table = pa.Table.from_pylist(keys, DOCUMENT_KEYS).sort_by(order)
    aside = rejected_table(piece.uri, "scan", rejected)
    return ScanResult(len(keys) + len(rejected), table, aside, unreadable, names.found())


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
    digest = "" if isinstance(found, Tombstone) else content_hash(found.title, found.text)
    return {
        "id_hash": id_hash(found.doc_id),
        "doc_id": found.doc_id,
        "content_hash": digest,
        "row": found.row,
    }


def id_hash(doc_id: str) -> int:
    """The first 8 bytes of the id's sha256, big-endian: spreads ids evenly over hash ranges."""
    return int.from_bytes(hashlib.sha256(doc_id.encode("utf-8")).digest()[:8], "big")
