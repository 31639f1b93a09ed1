"""The comparison of a corpus with an index, against dictionaries."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.schemas import DOCUMENT_KEYS, PART_KEYS, REMOVED, SKIPS
from shardrank.corpus.changes import DUPLICATES, Mode, compare
from shardrank.stages.index.compare import IdRange, _in_range

GONE = ""  # the content hash of a tombstone


@dataclass(frozen=True)
class Case:
    """Slices of (id, content hash, order), parts of id → content hash, how they are compared."""

    slices: list[list[tuple[str, str, str]]]
    stored: dict[str, tuple[int, str]]
    mode: Mode
    due: frozenset[int]


_row = st.tuples(
    st.sampled_from("abcdefé"), st.sampled_from(["x", "y", GONE]), st.sampled_from("1123é")
)
_cases = st.builds(
    Case,
    slices=st.lists(st.lists(_row, max_size=6), max_size=4),
    stored=st.dictionaries(
        st.sampled_from("abcdefghé"), st.tuples(st.integers(0, 3), st.sampled_from("xy"))
    ),
    mode=st.sampled_from(["snapshot", "upsert"]),
    due=st.frozensets(st.integers(0, 3)),
)


def scanned(rows: list[tuple[str, str, str]]) -> pa.Table:
    # One hash for all: ids must be told apart by themselves.
    values = [
        {"id_hash": 1, "doc_id": doc_id, "content_hash": digest, "order": order, "row": row}
        for row, (doc_id, digest, order) in enumerate(rows)
    ]
    return pa.Table.from_pylist(values, DOCUMENT_KEYS)


def part(case: Case, ordinal: int) -> pa.Table:
    mine = {d: h for d, (n, h) in case.stored.items() if n == ordinal}
    values = [
        {
            "id_hash": 1,
            "doc_id": doc_id,
            "content_hash": digest,
            "row": 2 * row,
            "rows": 2,
            "tokens": 9,
            "truncated": 1,
        }
        for row, (doc_id, digest) in enumerate(mine.items())
    ]
    return pa.Table.from_pylist(values, PART_KEYS)


@settings(max_examples=300, deadline=None)
@given(case=_cases)
def test_it_is_what_dictionaries_say(case: Case) -> None:
    slices = list(enumerate(scanned(rows) for rows in case.slices))
    parts = [(n, part(case, n)) for n in range(4)]
    found = compare(slices[::-1], parts[::-1], case.mode, case.due)
    last: dict[str, tuple[str, str, int, int]] = {}
    places = [
        (doc_id, (order, n, row), digest)
        for n, rows in enumerate(case.slices)
        for row, (doc_id, digest, order) in enumerate(rows)
    ]
    for doc_id, place, digest in sorted(places, key=lambda item: item[1]):
        last[doc_id] = (digest, *place)
    counting = {(n, row) for _, _, n, row in last.values()}
    skips = {place[1:] for _, place, _ in places} - counting
    earlier = [
        {"slice": n, "row": row, "doc_id": d} for d, (_, n, row), _ in places if (n, row) in skips
    ]
    live = {doc_id: digest for doc_id, (digest, *_) in last.items() if digest != GONE}
    gone = {doc_id for doc_id, (digest, *_) in last.items() if digest == GONE}
    before = {doc_id: digest for doc_id, (_, digest) in case.stored.items()}
    same = {doc_id for doc_id, digest in live.items() if before.get(doc_id) == digest}
    unchanged = {doc_id for doc_id in same if case.stored[doc_id][0] not in case.due}
    replaced = (live.keys() & before.keys()) - unchanged
    deleted = before.keys() & gone
    if case.mode == "snapshot":
        deleted |= before.keys() - last.keys()
    skips |= {last[d][2:] for d in gone | unchanged}
    assert found.duplicates.to_pylist() == (earlier if case.mode == "snapshot" else [])
    assert {(r["slice"], r["row"]) for r in found.skips.to_pylist()} == skips
    removed = found.removed.to_pylist()
    assert {r["doc_id"] for r in removed} == replaced | deleted
    assert {r["doc_id"] for r in removed if r["replaced"]} == replaced
    assert all(case.stored[r["doc_id"]][0] == r["part"] and r["rows"] == 2 for r in removed)
    assert found.counts == {
        "added": len(live.keys() - before.keys()),
        "changed": len(replaced),
        "unchanged": len(unchanged),
        "tombstones": len(gone),
        "deleted": len(deleted),
        "superseded": len(earlier) if case.mode == "upsert" else 0,
        "backfilled": len(same - unchanged),
    }
    rows_in = sum(len(rows) for rows in case.slices)
    assert sum(found.taken.values()) == rows_in - len(skips)
    schemas = (found.skips.schema, found.duplicates.schema, found.removed.schema)
    assert schemas == (SKIPS, DUPLICATES, REMOVED)


def keys(seed: int, rows: int) -> pa.Table:
    """DOCUMENT_KEYS of one slice, sorted by hash."""
    hashes = np.sort(np.random.default_rng(seed).integers(0, 1 << 64, rows, dtype=np.uint64))
    ids = [f"{number:032x}" for number in hashes]
    columns = [hashes, ids, ids, [""] * rows, np.arange(rows)]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=DOCUMENT_KEYS)


@pytest.mark.parametrize("rows", [0, 1, 500])
@pytest.mark.parametrize("ranges", [1, 2, 3, 7])
def test_every_key_is_in_one_range(rows: int, ranges: int) -> None:
    whole = keys(0, rows)
    pieces = [_in_range(whole, IdRange(number, ranges)) for number in range(ranges)]
    assert pa.concat_tables(pieces).equals(whole)


def test_keys_of_other_ranges_do_not_stay_in_memory() -> None:
    before = pa.total_allocated_bytes()
    kept = [_in_range(keys(seed, 2000), IdRange(3, 10)) for seed in range(20)]
    wanted = sum(table.nbytes for table in kept)
    assert 0.08 < sum(table.num_rows for table in kept) / 40_000 < 0.12
    assert wanted <= pa.total_allocated_bytes() - before < 1.2 * wanted
