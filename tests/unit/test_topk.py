from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core import topk
from shardrank.core.errors import InputError
from shardrank.core.schemas import HITS
from shardrank.core.topk import Best, floors, fold_and_cut, merge, ranks, split

IDS = ["a", "b", "z", "é", "\uffff", "\U0001f600", "", "aa"]
SCORES = [float(np.float32(s)) for s in (-np.inf, -1.5, -0.0, 0.0, 1e-40, 1.5, np.inf)]

hit = st.tuples(
    st.integers(0, 3), st.sampled_from(IDS), st.integers(-1, 2), st.sampled_from(SCORES)
)
hit_lists = st.lists(hit, max_size=40, unique_by=lambda h: h[:3])


def table(hits: Any) -> Any:
    rows = [(*h, 7, i) for i, h in enumerate(hits)]
    columns = list(zip(*rows, strict=True)) or [[]] * 6
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, HITS, strict=True)], schema=HITS
    )


def oracle(hits: Any, k: int) -> Any:
    best = {}
    for h in sorted(hits, key=lambda h: (-h[3], h[2])):
        best.setdefault((h[0], h[1]), h)
    ordered = sorted(best.values(), key=lambda h: (h[0], -h[3], h[1].encode()))
    return [h for i, h in enumerate(ordered) if sum(o[0] == h[0] for o in ordered[:i]) < k]


@given(hit_lists, st.integers(1, 5))
def test_it_is_the_total_order(hits: Any, k: int) -> None:
    result = fold_and_cut(table(hits), k)
    assert result.schema == HITS
    rows = [tuple(r.values())[:4] for r in result.to_pylist()]
    assert rows == oracle(hits, k)
    assert ranks(result).tolist() == [
        1 + sum(o[0] == h[0] for o in rows[:i]) for i, h in enumerate(rows)
    ]


@given(hit_lists, st.integers(1, 5), st.integers(1, 5), st.data())
def test_merging_is_associative_in_any_order(
    hits: Any, k: int, pieces: int, data: st.DataObject
) -> None:
    where = [data.draw(st.integers(0, pieces - 1)) for _ in hits]
    whole = table(hits)
    groups = [whole.filter(pa.array([w == p for w in where], pa.bool_())) for p in range(pieces)]
    groups = data.draw(st.permutations([fold_and_cut(g, k) for g in groups]))
    split = data.draw(st.integers(0, pieces))
    nested = merge([merge(groups[:split], k), merge(groups[split:], k)], k)
    assert nested.equals(fold_and_cut(whole, k))
    assert merge(groups, k).equals(nested)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(topk, "SORTED_AT_ONCE", data.draw(st.integers(1, 40)))
        assert merge(groups, k).equals(nested)


@given(st.lists(hit_lists, max_size=6), st.integers(1, 5))
def test_the_best_of_tables_one_by_one_are_those_of_all_at_once(lists: Any, k: int) -> None:
    # Each piece has documents of its own, as parts and shards have.
    own = [[(q, f"{d}{n}", p, s) for q, d, p, s in hits] for n, hits in enumerate(lists)]
    pieces, best = [fold_and_cut(table(hits), k) for hits in own], Best(4, k)
    for number, piece in enumerate(pieces, 1):
        best.add(piece)
        if number % 2:
            assert best.table().equals(merge(pieces[:number], k))
        assert (best.floor <= floors(merge(pieces[:number], k), 4, k)).all()
    assert best.table().equals(merge(pieces, k))


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 2 scores are NaN, first in row 1"):
        fold_and_cut(table([(0, "a", 0, 1.0), (0, "b", 0, np.nan)]), 3)


def test_nothing_merges_to_nothing() -> None:
    assert merge([], 3).equals(HITS.empty_table())


def test_floors_are_the_kth_scores() -> None:
    hits = fold_and_cut(table([(0, "a", 0, 1.0), (0, "b", 0, 0.5), (2, "a", 0, 3.0)]), 2)
    assert floors(hits, 4, 2).tolist() == [0.5, -np.inf, -np.inf, -np.inf]


@given(hit_lists, st.lists(st.integers(0, 5), min_size=2, max_size=5).map(sorted))
def test_a_split_gives_each_run_of_queries_its_hits(hits: Any, starts: list[int]) -> None:
    whole = fold_and_cut(table(hits), 5)
    pieces = list(split(whole, starts))
    assert [piece.schema for piece in pieces] == [HITS] * (len(starts) - 1)
    for (low, high), piece in zip(pairwise(starts), pieces, strict=True):
        mine = [row for row in whole.to_pylist() if low <= row["query"] < high]
        assert piece.to_pylist() == [row | {"query": row["query"] - low} for row in mine]


def test_a_split_copies_query_numbers_alone() -> None:
    whole = fold_and_cut(table([(q, i, 0, 1.0) for q in range(100) for i in IDS]), 8)
    before = pa.total_allocated_bytes()
    pieces = list(split(whole, range(0, 101, 10)))
    assert sum(piece.num_rows for piece in pieces) == 800
    assert pa.total_allocated_bytes() - before <= 800 * 4 + 10 * 64
