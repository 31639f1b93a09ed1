"""First pass over a slice: which documents it holds, without keeping any text."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.fingerprint import content_hash
from pipelines.core.protocols import SourceOpener
from pipelines.core.schemas import DOCUMENT_KEYS
from pipelines.core.settings import CorpusSettings
from pipelines.corpus.reader import read_slice
from pipelines.corpus.slices import Slice
from pipelines.corpus.validate import Reason, Rejected, check, rejected_table, shown_id

#: Occurrences of a document's id after the first: in which slice, at which row.
DUPLICATES = pa.schema(
    [
        pa.field("slice", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class ScanResult:
    """`rows` = rows of `keys` (DOCUMENT_KEYS) + rows of `rejected` (REJECTED)."""

    rows: int
    keys: pa.Table
    rejected: pa.Table


def scan_slice(piece: Slice, opener: SourceOpener, settings: CorpusSettings) -> ScanResult:
    """Keys of the slice's documents, sorted by (id_hash, doc_id, row), and its rejected rows.

    An id that occurs twice is in the keys twice: only all slices together can tell which
    occurrence is the first. Raises what `read_slice` raises.
    """
    keys: list[dict[str, int | str]] = []
    rejected: list[Rejected] = []
    for row in read_slice(piece, opener, settings):
        found = check(row, settings)
        if isinstance(found, Reason):
            rejected.append(Rejected(row.row, shown_id(row.doc_id), found))
        else:
            keys.append(
                {
                    "id_hash": id_hash(found.doc_id),
                    "doc_id": found.doc_id,
                    "content_hash": content_hash(found.title, found.text),
                    "row": found.row,
                }
            )
    order = [(name, "ascending") for name in ("id_hash", "doc_id", "row")]
    table = pa.Table.from_pylist(keys, DOCUMENT_KEYS).sort_by(order)
    return ScanResult(len(keys) + len(rejected), table, rejected_table(piece.uri, "scan", rejected))


def id_hash(doc_id: str) -> int:
    """The first 8 bytes of the id's sha256, big-endian: spreads ids evenly over hash ranges."""
    return int.from_bytes(hashlib.sha256(doc_id.encode("utf-8")).digest()[:8], "big")


def duplicates(keys: Sequence[tuple[int, pa.Table]]) -> pa.Table:
    """Every occurrence of an id but its first, in the order of (slice, row).

    Args:
        keys: (slice ordinal, DOCUMENT_KEYS) of one range of id hashes.

    Returns:
        A table of schema DUPLICATES, sorted by slice and row.
    """
    tables = [
        table.append_column("slice", pa.array([ordinal] * table.num_rows, pa.int32()))
        for ordinal, table in keys
    ]
    if not tables:
        return DUPLICATES.empty_table()
    order = [(name, "ascending") for name in ("id_hash", "doc_id", "slice", "row")]
    table = pa.concat_tables(tables).sort_by(order)
    ids = table["doc_id"]
    repeated = pc.equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0)))
    later = table.slice(1).filter(repeated).select(DUPLICATES.names).cast(DUPLICATES)
    return later.sort_by([("slice", "ascending"), ("row", "ascending")])
