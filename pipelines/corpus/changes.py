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
from shardrank.core.arrow_columns import text_bounds
from shardrank.core.schemas import DOCUMENT_KEYS, PART_KEYS, REMOVED, SKIPS
from shardrank.corpus.key_order import hash_order
from shardrank.kernels.key_loops import find_hashes, same_texts

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
    base = _joined(stored, "part", PART_KEYS)
    order = hash_order(rows, ("doc_id", "order", "slice", "row"))
    last = _last_of_id(rows, order)
    tombstone = np.zeros(len(order), np.bool_)
    tombstone[last] = _sizes(rows["content_hash"])[order[last]] == 0
    place = _places(rows, order, base)
    known = last & (place >= 0)
    same = known & reuse
    same[same] = _same_texts(rows, order[same], base, place[same], "content_hash")
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
        skips=_by_place(rows, order[skipped], SKIPS),
        duplicates=_by_place(rows, order[twice], DUPLICATES),
        removed=_removed(base, gone, replaced),
        counts=counts,
        taken=_counted(rows["slice"].to_numpy()[order[~skipped]]),
    )


def _joined(tables: Sequence[tuple[int, pa.Table]], name: str, schema: pa.Schema) -> pa.Table:
    """All tables as one, each row with the ordinal of its slice or part."""
    column = pa.field(name, pa.int32(), nullable=False)
    numbered = [
        table.append_column(column, pa.array(np.full(table.num_rows, ordinal, np.int32)))
        for ordinal, table in tables
    ]
    return pa.concat_tables([schema.append(column).empty_table(), *numbered]).combine_chunks()


def _last_of_id(rows: pa.Table, order: Int64) -> Bool:
    """bool[n]: whether the row behind, in that order, has another id."""
    hashes = rows["id_hash"].to_numpy()[order]
    last = np.append(hashes[1:] != hashes[:-1], np.ones(min(len(order), 1), np.bool_))
    tied = np.flatnonzero(~last)
    last[tied] = ~_same_texts(rows, order[tied], rows, order[tied + 1], "doc_id")
    return last


def _places(rows: pa.Table, order: Int64, among: pa.Table) -> Int64:
    """int64[n]: where in `among` the id of each row is, in that order, or -1. By their hashes, and
    where two ids share one by the ids."""
    hashes, others = rows["id_hash"].to_numpy(), among["id_hash"].to_numpy()
    places = np.empty(len(order), np.int64)
    find_hashes(hashes, order, others, np.argsort(others), places)
    known = np.flatnonzero(places >= 0)
    if _same_texts(rows, order[known], among, places[known], "doc_id").all():
        return places
    return _found(rows["doc_id"].take(pa.array(order)), among["doc_id"])


def _same_texts(rows: pa.Table, left: Int64, base: pa.Table, right: Int64, name: str) -> Bool:
    """bool[m]: whether rows[left[i]] has the same text in a column as base[right[i]]."""
    same = np.empty(len(left), np.bool_)
    (data, bounds), (other, other_bounds) = _bounds(rows[name]), _bounds(base[name])
    same_texts(data, bounds, left, other, other_bounds, right, same)
    return same


def _sizes(column: pa.ChunkedArray) -> Int64:
    """int64[n]: bytes of each text."""
    return np.diff(_bounds(column)[1])


def _bounds(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint8], Int64]:
    """As `text_bounds`; a column of over 2 GiB has several chunks."""
    if column.num_chunks == 1:
        return text_bounds(column.chunk(0))
    return text_bounds(column.cast(pa.large_string()).combine_chunks())


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


def _by_place(rows: pa.Table, which: Int64, schema: pa.Schema) -> pa.Table:
    """These rows by slice and row."""
    slices, numbers = (rows[name].to_numpy()[which] for name in ("slice", "row"))
    found = rows.select(schema.names).take(pa.array(which[_placed(slices, numbers)]))
    return found.cast(schema)


def _placed(slices: npt.NDArray[np.int32], rows: Int64) -> Int64:
    """int64[n]: what sorts by slice, then row; both in one number, as far as they fit."""
    width = int(rows.max(initial=0)) + 1
    if int(slices.max(initial=0)) < np.iinfo(np.int64).max // width:
        return np.argsort(slices * np.int64(width) + rows)
    return np.lexsort((rows, slices))


def _counted(ordinals: npt.NDArray[np.int32]) -> dict[int, int]:
    values, counts = np.unique(ordinals, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}
