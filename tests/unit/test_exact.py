from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.schemas import HITS, column_schema
from shardrank.core.topk import floors, top_order
from shardrank.index import nearest
from shardrank.index.blocks import PartBlock
from shardrank.index.exact import part_topk, sweep_topk
from shardrank.index.nearest import by_products, near_pairs
from shardrank.index.pairs import pair_scores
from shardrank.models.forward.products import int8_product
from tests.memory import peak_bytes

FIND = by_products(int8_product)


def block(
    rng: np.random.Generator,
    documents: int,
    dim: int = 8,
    ordinal: int = 0,
    coarse: bool = False,
    bad: float = 0.1,
) -> Any:
    """A part of documents with 1 to 3 passages; coarse vectors tie often."""
    counts = rng.integers(1, 4, documents)
    names = rng.permutation(documents)
    ids = [f"{ordinal}-{names[i]}" for i, n in enumerate(counts) for _ in range(n)]
    passages = np.concatenate([[], *(np.arange(n) for n in counts)]).astype(np.int32)
    shape = (len(ids), dim)
    vectors = rng.integers(-1, 2, shape) if coarse else rng.normal(size=shape)
    ok = rng.random(len(ids)) >= bad
    vectors = np.where(ok[:, None], vectors, 0).astype(np.float32)
    return PartBlock(ordinal, pa.array(ids, pa.string()), passages, vectors, ok)


def oracle(queries: Any, parts: Any, k: int) -> Any:
    """(query, doc_id, passage, score) by going through everything, one pair at a time."""
    result = []
    for number, query in enumerate(queries):
        best = {}
        for part in parts:
            for row in np.flatnonzero(part.live):
                score = pair_scores(query[None], np.array([0]), part.vectors, np.array([row]))[0]
                hit = (-float(score), part.doc_ids[row].as_py(), int(part.passages[row]))
                best[hit[1]] = min(hit, best.get(hit[1], hit))
        result += [(number, d, p, -s) for s, d, p in sorted(best.values())[:k]]
    return result


def rows(hits: Any) -> Any:
    return [tuple(row.values())[:4] for row in hits.to_pylist()]


@settings(max_examples=60)
@given(
    st.integers(0, 2**31),
    st.lists(st.integers(0, 20), max_size=3),
    st.integers(0, 4),
    st.integers(1, 8),
    st.booleans(),
)
def test_a_sweep_finds_what_brute_force_finds(
    seed: int, sizes: Any, count: int, k: int, coarse: bool
) -> None:
    rng = np.random.default_rng(seed)
    parts = [block(rng, n, ordinal=i, coarse=coarse) for i, n in enumerate(sizes)]
    queries = np.round(rng.normal(size=(count, 8))).astype(np.float32)
    hits = sweep_topk(queries, iter(parts), k, FIND)
    assert hits.schema == HITS
    assert rows(hits) == oracle(queries, parts, k)


@pytest.mark.parametrize("coarse", [False, True])
def test_a_large_part_against_brute_force_in_numpy(
    coarse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_QUERIES", 7)  # several blocks of queries
    rng = np.random.default_rng(5)
    part = block(rng, 1500, dim=24, coarse=coarse)
    queries = rng.normal(size=(30, 24)).astype(np.float32)
    scores = queries @ part.vectors.T
    scores[:, ~part.live] = -np.inf
    found = part_topk(queries, part, 10, FIND)
    by_document = np.maximum.reduceat(scores, part.starts, axis=1)
    expected = -np.sort(-by_document, axis=1)[:, :10]
    got = found["score"].to_numpy().reshape(30, 10)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_floor_changes_nothing_that_can_enter() -> None:
    rng = np.random.default_rng(1)
    part = block(rng, 400, coarse=True)
    queries = rng.normal(size=(20, 8)).astype(np.float32)
    found = part_topk(queries, part, 9, FIND)
    assert part_topk(queries, part, 9, FIND, floors(found, 20, 9)).equals(found)


def test_identical_vectors_tie_by_the_bytes_of_the_id() -> None:
    ids = ["b", "\U0001f600", "a", "\uffff", "aa"]
    part = PartBlock(
        0, pa.array(ids), np.zeros(5, np.int32), np.ones((5, 4), np.float32), np.ones(5, bool)
    )
    found = part_topk(np.ones((1, 4), np.float32), part, 4, FIND)
    assert found["doc_id"].to_pylist() == ["a", "aa", "b", "\uffff"]


@given(st.integers(0, 2**31), st.integers(1, 400))
def test_a_pair_scores_the_same_in_any_batch(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(5, dim)).astype(np.float32)
    vectors = rng.normal(size=(7, dim)).astype(np.float32)
    query, row = (grid.ravel() for grid in np.mgrid[:5, :7])
    together = pair_scores(queries, query, vectors, row)
    pair = rng.integers(35)
    alone = pair_scores(queries, query[[pair]], vectors, row[[pair]])
    shuffled = rng.permutation(35)
    assert alone[0] == together[pair]
    assert np.array_equal(
        pair_scores(queries, query[shuffled], vectors, row[shuffled]), together[shuffled]
    )
    exact = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).ravel()
    np.testing.assert_allclose(together, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dims", [range(300), range(300, 1100, 13), [1536, 2048, 4096, 8191]])
def test_a_pair_scores_as_numpy_sums(dims: Any) -> None:
    """By its pairwise summation, bit by bit."""
    rng = np.random.default_rng(4)
    for dim in dims:
        queries, vectors = (rng.normal(size=(4, dim)).astype(np.float32) for _ in range(2))
        queries[3], vectors[3] = -0.0, 1e-30
        query, row = (grid.ravel() for grid in np.mgrid[:4, :4])
        expected = np.add.reduce(queries[query] * vectors[row], axis=1)
        assert pair_scores(queries, query, vectors, row).tobytes() == expected.tobytes(), dim


def test_no_margin_would_miss_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly equal scores, where a matrix product and the formula disagree about the order."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=256)
    vectors = (base + rng.normal(size=(3000, 256)) * 1e-7).astype(np.float32)
    ids = pa.array([f"{i:04}" for i in range(3000)])
    part = PartBlock(0, ids, np.zeros(3000, np.int32), vectors, np.ones(3000, bool))
    queries = (base + rng.normal(size=(20, 256))).astype(np.float32)
    query, row = (grid.ravel() for grid in np.mgrid[:20, :3000])
    expected = part.hits(query, row, pair_scores(queries, query, vectors, row), 5)
    assert part_topk(queries, part, 5, FIND).equals(expected)
    monkeypatch.setattr(nearest, "_rounded", careless(nearest._rounded))
    assert not part_topk(queries, part, 5, FIND).equals(expected)


def careless(rounded: Any) -> Any:
    """As if rounding lost nothing."""

    def wrong(*given: Any) -> Any:
        made = rounded(*given)
        return made._replace(errors=np.zeros_like(made.errors))

    return wrong


def test_vectors_that_are_all_equal_are_not_all_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row is then near to every query: more room is made, for fewer queries at a time."""
    monkeypatch.setattr(nearest, "_BUFFER_BYTES", 1 << 18)
    ids = pa.array([f"{i:04}" for i in range(2000)])
    ones, ok = np.ones((2000, 8), np.float32), np.ones(2000, bool)
    part = PartBlock(0, ids, np.zeros(2000, np.int32), ones, ok)
    queries = np.ones((320, 8), np.float32)
    found = part_topk(queries, part, 3, FIND)
    assert found["doc_id"].to_pylist() == ["0000", "0001", "0002"] * 320
    floor = np.full(320, -np.inf, np.float32)
    blocks = list(near_pairs(queries, part, 3, floor, int8_product))
    assert sum(len(block.rows) for block in blocks) == 320 * 2000
    assert len(blocks) > 30
    assert peak_bytes(lambda: part_topk(queries, part, 3, FIND)) < 320 * 2000 * 8


def test_one_query_that_needs_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_SLACK", 8)
    rng = np.random.default_rng(3)
    part = block(rng, 900, dim=16)
    queries = rng.normal(size=(9, 16)).astype(np.float32)
    queries[4] = 0
    assert rows(part_topk(queries, part, 3, FIND)) == oracle(queries, [part], 3)


@settings(max_examples=60)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 7, 16, 48, 130, 257]),
    st.integers(1, 300),
    st.sampled_from([1, 3, 40]),
    st.sampled_from(["plain", "long and short", "tiny", "huge", "near", "outliers", "few"]),
)
def test_any_vectors_give_what_all_pairs_give(
    seed: int, dim: int, documents: int, k: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    part = block(rng, documents, dim=dim)
    vectors, queries = part.vectors, rng.normal(size=(6, dim)).astype(np.float32)
    if kind == "long and short":
        vectors *= (10.0 ** rng.uniform(-6, 6, (len(vectors), 1))).astype(np.float32)
    elif kind == "tiny":
        vectors *= np.float32(1e-25)
        queries[:3] *= np.float32(1e-20)
    elif kind == "huge":
        vectors *= np.float32(1e20)
        queries[:3] *= np.float32(1e-10)
    elif kind == "near":
        vectors[:] = vectors[:1] + vectors * np.float32(1e-6)
    elif kind == "outliers":
        vectors[:, 0] *= np.float32(300)
    elif kind == "few":
        vectors[:] = vectors[rng.integers(0, min(3, len(vectors)), len(vectors))]
    queries[5] = 0
    vectors[~part.live] = np.nan
    row = np.flatnonzero(part.live)
    query, row = np.repeat(np.arange(6), len(row)), np.tile(row, 6)
    scores = pair_scores(queries, query, vectors, row)
    expected = part.hits(query, row, scores, k)
    assert part_topk(queries, part, k, FIND).equals(expected)
    floor = np.quantile(scores, 0.9) if len(scores) else 0
    kept = scores >= floor
    few = part_topk(queries, part, k, FIND, np.full(6, floor, np.float32))
    assert few.equals(part.hits(query[kept], row[kept], scores[kept], k))


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(1, 6), st.booleans())
def test_hits_are_in_the_total_order(seed: int, documents: int, k: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    part = block(rng, documents)
    query, row = (grid.ravel() for grid in np.mgrid[:4, : part.rows])
    taken = rng.random(len(row)) < 0.7
    query, row = query[taken], row[taken]
    scores = rng.normal(size=len(row)).astype(np.float32)
    scores = np.round(scores) if coarse else scores  # with -0.0
    kept = top_order(query.astype(np.int32), part.documents[row], part.passages[row], scores, k)
    found = part.hits(query, row, scores, k)
    assert found["row"].to_pylist() == row[kept].tolist()
    assert found["score"].to_pylist() == scores[kept].tolist()
    assert found["query"].to_pylist() == query[kept].tolist()


def test_infinite_scores_that_cancel_are_refused() -> None:
    part = block(np.random.default_rng(0), 3, bad=0)
    part.vectors[:] = [3e38, 3e38, 1, 1, 1, 1, 1, 1]
    queries = np.array([[3e38, -3e38, 1, 1, 1, 1, 1, 1]], np.float32)
    with pytest.raises(InputError, match="scores are NaN"):
        part_topk(queries, part, 2, FIND)


def test_queries_that_are_not_finite_are_refused() -> None:
    part = block(np.random.default_rng(0), 3)
    queries = np.ones((3, 8), np.float32)
    queries[1, 2] = np.nan
    with pytest.raises(InputError, match="1 of 3 query vectors are not finite, first 1"):
        part_topk(queries, part, 2, FIND)


def tables(ids: Any, rows: Any, vectors: Any, dtype: str = "fp16") -> Any:
    """Keys of documents with so many rows each, in any order, and stored vectors."""
    first = np.cumsum(rows) - rows if len(rows) else np.empty(0)
    columns = {
        "doc_id": pa.array(ids, pa.string()),
        "row": pa.array(first, pa.int32()),
        "rows": pa.array(rows, pa.int32()),
    }
    kind = column_schema(pa.list_(pa.float16() if dtype == "fp16" else pa.float32(), 2))
    stored = pa.Table.from_arrays([pa.array(list(vectors), kind.field(0).type)], schema=kind)
    return pa.table(columns).sort_by("doc_id"), stored


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_a_block_of_stored_tables(dtype: str) -> None:
    vectors = np.array([[1, 2], [3, 4], [5, 0.1]], np.float16 if dtype == "fp16" else np.float32)
    keys, stored = tables(["b", "a"], [2, 1], vectors, dtype)
    live = np.array([True, False, True])
    whole = pa.concat_tables([keys[:1], keys[1:]])
    part = PartBlock.from_tables(3, whole, stored[:], live)
    assert part.vectors.dtype == np.float32
    assert np.array_equal(part.vectors, vectors.astype(np.float32))
    assert (part.ordinal, part.rows, part.starts.tolist()) == (3, 3, [0, 2])
    assert (part.doc_ids.to_pylist(), part.passages.tolist()) == (["b", "b", "a"], [0, 1, 0])
    assert part.documents.tolist() == [1, 1, 0]
    rest, _ = tables(["x", "a"], [1, 1], vectors[:2], dtype)
    tail = PartBlock.from_tables(3, rest, stored[1:], live[1:])
    assert np.array_equal(tail.vectors, part.vectors[1:])


def test_an_empty_part() -> None:
    nothing = tables([], [], np.empty((0, 2), np.float16))
    part = PartBlock.from_tables(0, *nothing, np.zeros(0, bool))
    assert part_topk(np.ones((2, 2), np.float32), part, 3, FIND).equals(HITS.empty_table())


def test_blocks_that_cannot_be_are_refused() -> None:
    keys, stored = tables(["a", "b"], [1, 2], np.ones((3, 2), np.float16))
    live = np.ones(3, bool)
    with pytest.raises(IntegrityError, match="3 vectors, its documents have 1"):
        PartBlock.from_tables(0, keys[:1], stored, live)
    shifted = keys.set_column(1, "row", pa.array([1, 0], pa.int32()))
    with pytest.raises(IntegrityError, match="do not belong together"):
        PartBlock.from_tables(0, shifted, stored, live)
    twice, _ = tables(["a", "b", "a"], [1, 1, 1], np.ones((3, 2), np.float16))
    with pytest.raises(IntegrityError, match="not consecutive"):
        _ = PartBlock.from_tables(0, twice, stored, live).documents
    one, infinite = tables(["a"], [1], np.full((1, 2), np.inf, np.float16))
    with pytest.raises(IntegrityError, match="not finite"):
        PartBlock.from_tables(0, one, infinite, live[:1])
    hidden = PartBlock.from_tables(0, one, infinite, np.zeros(1, bool))
    assert not part_topk(np.ones((1, 2), np.float32), hidden, 3, FIND).num_rows
