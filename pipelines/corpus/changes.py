"""What a corpus changes in an index: its ids and content hashes against those of live documents.

All tables here are of one range of id hashes, so that no process ever holds all ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Int64
from shardrank.core.schemas import DOCUMENT_KEYS, PART_KEYS, REMOVED, SKIPS
from shardrank.corpus.key_order import by_hash

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
        counts: added, changed, unchanged, deleted documents, tombstones, and superseded rows.
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
    reuse: bool,
) -> Comparison:
    """Compare ids and content hashes.

    Of several rows with one id the last counts, be it a tombstone: by `order`, then slice and row.

    Args:
        scanned: (slice ordinal, DOCUMENT_KEYS) of the corpus.
        stored: (part ordinal, PART_KEYS) of the index's live documents; an id is in them once.
        mode: whether a document that the corpus lacks is deleted.
        reuse: whether what is stored of a document serves; otherwise all count as changed.
    """
    rows = _joined(scanned, "slice", DOCUMENT_KEYS)
    rows = by_hash(rows, ("doc_id", "order", "slice", "row"))
    base = _joined(stored, "part", PART_KEYS)
    last = _last_of_id(rows["doc_id"])
    tombstone = last & pc.equal(rows["content_hash"], "").to_numpy()
    place = _places(rows, base)
    known = last & (place >= 0)
    same = known & reuse
    same[known] &= _same_content(rows, base, np.flatnonzero(known), place[known])
    gone, replaced = _gone(place, base.num_rows, known, same, tombstone, mode)
    skipped = ~last | tombstone | same
    twice = ~last & (mode == "snapshot")
    counts = {
        "added": int((last & ~known & ~tombstone).sum()),
        "changed": int((known & ~same & ~tombstone).sum()),
        "unchanged": int(same.sum()),
        "tombstones": int(tombstone.sum()),
        "deleted": int((gone & ~replaced).sum()),
        "superseded": int((~last & ~twice).sum()),
    }
    return Comparison(
        skips=_by_place(rows.filter(pa.array(skipped)), SKIPS),
        duplicates=_by_place(rows.filter(pa.array(twice)), DUPLICATES),
        removed=_removed(base, gone, replaced),
        counts=counts,
        taken=_counted(rows["slice"].filter(pa.array(~skipped))),
    )


def _joined(tables: Sequence[tuple[int, pa.Table]], name: str, schema: pa.Schema) -> pa.Table:
    """All tables as one, each row with the ordinal of its slice or part."""
    column = pa.field(name, pa.int32(), nullable=False)
    numbered = [
        table.append_column(column, pa.array(np.full(table.num_rows, ordinal, np.int32)))
        for ordinal, table in tables
    ]
    return pa.concat_tables([schema.append(column).empty_table(), *numbered]).combine_chunks()


def _last_of_id(sorted_ids: pa.ChunkedArray) -> Bool:
    """bool[n]: whether the row behind has another id."""
    if not len(sorted_ids):
        return np.zeros(0, np.bool_)
    differs = pc.not_equal(sorted_ids.slice(1), sorted_ids.slice(0, len(sorted_ids) - 1))
    return np.concatenate([differs.to_numpy(), [True]])


def _places(rows: pa.Table, among: pa.Table) -> Int64:
    """int64[n]: the row of each id in `among`, or -1. By their hashes, and where two ids share one
    by the ids."""
    places = _found(rows["id_hash"], among["id_hash"])
    known = np.flatnonzero(places >= 0)
    ids = rows["doc_id"].take(pa.array(known))
    same = pc.all(pc.equal(ids, among["doc_id"].take(pa.array(places[known]))))
    return places if same.as_py() is not False else _found(rows["doc_id"], among["doc_id"])


def _same_content(rows: pa.Table, base: pa.Table, left: Int64, right: Int64) -> Bool:
    """bool[m]: whether rows[left[i]] has the content of base[right[i]]."""
    mine = rows["content_hash"].take(pa.array(left))
    same: Bool = pc.equal(mine, base["content_hash"].take(pa.array(right))).to_numpy()
    return same


def _found(values: pa.ChunkedArray, among: pa.ChunkedArray) -> Int64:
    found = pc.fill_null(pc.index_in(values, value_set=among), -1)
    places: Int64 = found.to_numpy().astype(np.int64)
    return places


def _gone(
    place: Int64, size: int, known: Bool, same: Bool, tombstone: Bool, mode: Mode
) -> tuple[Bool, Bool]:
    """bool[size] each: stored documents that go, and those of them that come again."""
    gone = np.full(size, mode == "snapshot")
    gone[place[known]] = False
    gone[place[known & ~same]] = True
    replaced = np.zeros(size, np.bool_)
    replaced[place[known & ~same & ~tombstone]] = True
    return gone, replaced


def _removed(base: pa.Table, gone: Bool, replaced: Bool) -> pa.Table:
    field = REMOVED.field("replaced")
    marked = base.append_column(field, pa.array(replaced)).filter(pa.array(gone))
    order = [("part", "ascending"), ("row", "ascending")]
    return marked.select(REMOVED.names).cast(REMOVED).sort_by(order)


def _by_place(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    order = [("slice", "ascending"), ("row", "ascending")]
    return rows.select(schema.names).cast(schema).sort_by(order)


def _counted(ordinals: pa.ChunkedArray) -> dict[int, int]:
    values: npt.NDArray[np.int32]
    values, counts = np.unique(ordinals.to_numpy(), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
