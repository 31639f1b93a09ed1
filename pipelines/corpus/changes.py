"""What a corpus changes in an index: its ids and content hashes against those of live documents.

All tables here are of one range of id hashes, so that no process ever holds all ids.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Int64
from shardrank.core.arrow_columns import text_bounds
from shardrank.core.schemas import DOCUMENT_KEYS, PART_KEYS, REMOVED, SKIPS
from shardrank.corpus.key_order import hash_order
from shardrank.kernels.key_loops import (
    ADDED,
    CHANGED,
    EARLIER,
    KINDS,
    TOMBSTONE,
    UNCHANGED,
    UNNAMED,
    Bounds,
    Bytes,
    Side,
    compare_keys,
)

#: Whether the corpus is all there is (what is not in it goes), or only what is new.
Mode = Literal["snapshot", "upsert"]

#: Rows of an id that do not count, since a later one does: in which slice, at which row.
DUPLICATES = SKIPS.append(pa.field("doc_id", pa.string(), nullable=False))


@dataclass(frozen=True)
class Comparison:
    """The differences between a corpus and an index.

    Attributes:
        skips: SKIPS, the source rows that are not ingested: unchanged ones, tombstones, and all
            rows of an id but the one that counts.
        duplicates: DUPLICATES, those of a snapshot's rows that do not count, by (slice, row):
            there an id should be once. In an upsert they are only counted, as superseded.
        removed: REMOVED, the live documents that are so no more, by (part, row).
        counts: added, changed, unchanged, deleted documents, tombstones, and superseded rows;
            and backfilled: those of the changed documents whose content is as before.
        taken: how many rows of each slice are to be ingested.
    """

    skips: pa.Table
    duplicates: pa.Table
    removed: pa.Table
    counts: dict[str, int]
    taken: dict[int, int]


def compare(
    scanned: Sequence[tuple[int, pa.Table]],
    stored: Sequence[tuple[int, pa.Table]],
    mode: Mode,
    due: Collection[int],
) -> Comparison:
    """Compare ids and content hashes.

    Of several rows with one id the last counts, be it a tombstone: by `order`, then slice and row.

    Args:
        scanned: (slice ordinal, DOCUMENT_KEYS) of the corpus.
        stored: (part ordinal, PART_KEYS) of the index's live documents; an id is in them once.
        mode: whether a document that the corpus lacks is deleted.
        due: ordinals of parts of which nothing serves: their documents count as changed.
    """
    rows = _joined(scanned, "slice", DOCUMENT_KEYS)
    base = _joined(stored, "part", PART_KEYS)
    kinds, fates = _compared(rows, base)
    backfilled = _backfill(rows, base, kinds, fates, due)
    counted = np.bincount(kinds, minlength=KINDS)
    gone = (fates == TOMBSTONE) | ((fates == UNNAMED) & (mode == "snapshot"))
    replaced = fates == CHANGED
    twice = (kinds == EARLIER) & (mode == "snapshot")
    counts = {
        "added": int(counted[ADDED]),
        "changed": int(counted[CHANGED]),
        "unchanged": int(counted[UNCHANGED]),
        "tombstones": int(counted[TOMBSTONE]),
        "deleted": int(gone.sum()),
        "superseded": int(counted[EARLIER]) - int(twice.sum()),
        "backfilled": backfilled,
    }
    taken, slices = (kinds == ADDED) | (kinds == CHANGED), rows["slice"].to_numpy()
    return Comparison(
        skips=_skips(slices[~taken], rows["row"].to_numpy()[~taken]),
        duplicates=_duplicates(rows.filter(pa.array(twice))),
        removed=_removed(base, gone | replaced, replaced),
        counts=counts,
        taken=_counted(slices[taken]),
    )


def _compared(rows: pa.Table, base: pa.Table) -> tuple[Bytes, Bytes]:
    """What each row of both comes to: see `compare_keys`."""
    kinds, fates = np.empty(rows.num_rows, np.uint8), np.empty(base.num_rows, np.uint8)
    order = hash_order(rows, ("doc_id", "order", "slice", "row"))
    compare_keys(_side(rows, order), _side(base, hash_order(base, ("doc_id",))), kinds, fates)
    return kinds, fates


def _backfill(
    rows: pa.Table, base: pa.Table, kinds: Bytes, fates: Bytes, due: Collection[int]
) -> int:
    """Let unchanged documents of parts that are due count as changed; how many these are."""
    if not due:
        return 0
    wanted = (fates == UNCHANGED) & np.isin(base["part"].to_numpy(), list(due))
    ids = base["doc_id"].filter(pa.array(wanted))
    same = pc.is_in(rows["doc_id"], value_set=ids.combine_chunks()).to_numpy()
    kinds[(kinds == UNCHANGED) & same] = CHANGED
    fates[wanted] = CHANGED
    return len(ids)


def _side(keys: pa.Table, order: Int64) -> Side:
    ids, contents = (_bounds(keys[name]) for name in ("doc_id", "content_hash"))
    return keys["id_hash"].to_numpy(), order, *ids, *contents


def _bounds(column: pa.ChunkedArray) -> tuple[Bytes, Bounds]:
    """As `text_bounds`, of the whole column."""
    if column.nbytes > np.iinfo(np.int32).max:
        column = column.cast(pa.large_string())
    one = column.num_chunks == 1
    return text_bounds(column.chunk(0) if one else column.combine_chunks())


def _joined(tables: Sequence[tuple[int, pa.Table]], name: str, schema: pa.Schema) -> pa.Table:
    """All tables as one, each row with the ordinal of its slice or part."""
    column = pa.field(name, pa.int32(), nullable=False)
    numbered = [
        table.append_column(column, pa.array(np.full(table.num_rows, ordinal, np.int32)))
        for ordinal, table in tables
    ]
    return pa.concat_tables(numbered or [schema.append(column).empty_table()])


def _removed(base: pa.Table, gone: Bool, replaced: Bool) -> pa.Table:
    field = REMOVED.field("replaced")
    marked = base.append_column(field, pa.array(replaced)).filter(pa.array(gone))
    order = [("part", "ascending"), ("row", "ascending")]
    return marked.select(REMOVED.names).cast(REMOVED).sort_by(order)


def _skips(slices: npt.NDArray[np.int32], rows: Int64) -> pa.Table:
    """SKIPS by slice and row: both in one number, which is sorted, as far as they fit."""
    bits = int(rows.max(initial=0)).bit_length()
    if int(slices.max(initial=0)).bit_length() + bits < 64:
        both = np.sort(slices.astype(np.int64) << bits | rows)
        columns = (both >> bits).astype(np.int32), both & (1 << bits) - 1
    else:
        order = np.lexsort((rows, slices))
        columns = slices[order], rows[order]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=SKIPS)


def _duplicates(rows: pa.Table) -> pa.Table:
    order = [("slice", "ascending"), ("row", "ascending")]
    return rows.select(DUPLICATES.names).cast(DUPLICATES).sort_by(order)


def _counted(ordinals: npt.NDArray[np.int32]) -> dict[int, int]:
    values, counts = np.unique(ordinals, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
