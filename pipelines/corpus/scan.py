"""First pass over a slice: which documents it holds, without keeping any text."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

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

#: Keys wait as Python values for so many rows: there they take ten times the memory.
_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class ScanResult:
    """`rows` = rows of `keys` (DOCUMENT_KEYS) + rows of `rejected` (REJECTED).

    `orders` are the kinds of values that corpus.order found: first letters of order keys.
    """

    rows: int
    keys: pa.Table
    rejected: pa.Table
    orders: str


def scan_slice(piece: Slice, opener: SourceOpener, settings: CorpusSettings) -> ScanResult:
    """Keys of the slice's documents, sorted by (id_hash, doc_id, row), and its rejected rows.

    An id that occurs twice is in the keys twice: only all slices together can tell which row
    counts. Raises what `read_slice` raises.
    """
    blocks: list[pa.Table] = []
    rejected: list[Rejected] = []
    orders = set[str]()

    def judged() -> Iterator[Document | Tombstone]:
        for row in read_slice(piece, opener, settings):
            found = check(row, settings)
            if isinstance(found, Reason):
                rejected.append(Rejected(row.row, shown_id(row.doc_id), found))
            else:
                orders.add(found.order[:1])
                yield found

    accepted = judged()
    while block := [_key(found) for found in islice(accepted, _BLOCK_ROWS)]:
        blocks.append(pa.Table.from_pylist(block, DOCUMENT_KEYS))
    keys = pa.concat_tables([DOCUMENT_KEYS.empty_table(), *blocks])
    keys = keys.sort_by([(name, "ascending") for name in ("id_hash", "doc_id", "row")])
    aside = rejected_table(piece.uri, "scan", rejected)
    return ScanResult(keys.num_rows + len(rejected), keys, aside, "".join(sorted(orders)))


def _key(found: Document | Tombstone) -> dict[str, int | str]:
    digest = "" if isinstance(found, Tombstone) else content_hash(found.title, found.text)
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
