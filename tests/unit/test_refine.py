from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.errors import InputError
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut
from shardrank.index.blocks import PartBlock
from shardrank.index.exact import sweep_topk
from shardrank.index.nearest import by_products
from shardrank.index.refine import refine
from shardrank.models.forward.products import int8_product
from tests.hits import hits


def make(seed: int, sizes: Any, coarse: bool = False) -> Any:
    """Parts of two-passage documents, their offsets and four queries."""
    rng = np.random.default_rng(seed)
    parts = []
    for ordinal, n in enumerate(sizes):
        vectors = rng.integers(-1, 2, (n, 6)) if coarse else rng.normal(size=(n, 6))
        ok = rng.random(n) > 0.15
        ids = pa.array([f"{ordinal}.{i // 2}" for i in range(n)], pa.string())
        passages = (np.arange(n) % 2).astype(np.int32)
        vectors = np.where(ok[:, None], vectors, 0).astype(np.float32)
        parts.append(PartBlock(ordinal, ids, passages, vectors, ok))
    offsets = np.cumsum([0, *sizes])[:-1].tolist()
    return parts, offsets, rng.normal(size=(4, 6)).astype(np.float32), rng


sizes = st.lists(st.integers(0, 12), min_size=1, max_size=4)


@settings(max_examples=60)
@given(st.integers(0, 2**31), sizes, st.integers(1, 30), st.booleans())
def test_refining_everything_is_exact_search_to_the_bit(
    seed: int, sizes: Any, k: int, coarse: bool
) -> None:
    parts, offsets, queries, rng = make(seed, sizes, coarse)
    total = sum(sizes)
    everything = np.stack([rng.permutation(total) for _ in queries]).reshape(len(queries), total)
    positions = np.pad(everything.astype(np.int64), ((0, 0), (1, 2)), constant_values=-1)
    refined = refine(queries, hits(positions), iter(parts), offsets)
    assert refined.best(0, 4, k).equals(sweep_topk(queries, parts, k, by_products(int8_product)))


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_a_hit_has_the_same_score_whatever_else_is_refined(seed: int) -> None:
    parts, offsets, queries, rng = make(seed, [9, 7])
    positions = rng.integers(-1, 16, (4, 5))
    together = refine(queries, hits(positions), parts, offsets).best(0, 4, 5)
    alone = [
        refine(
            queries,
            hits(np.where(np.arange(4)[:, None] == q, positions, -1)[:, [c]]),
            parts,
            offsets,
        ).best(0, 4, 5)
        for q in range(4)
        for c in range(5)
    ]
    assert fold_and_cut(pa.concat_tables(alone), 5).equals(together)


def test_parts_are_loaded_one_at_a_time_and_each_once() -> None:
    parts, offsets, queries, _ = make(0, [5, 5, 5])
    loaded = []

    def load() -> Any:
        for part in parts:
            loaded.append(part.ordinal)
            yield part

    refine(queries, hits(np.array([[14], [0], [14], [-1]])), load(), offsets)
    assert loaded == [0, 1, 2]


def test_no_queries_and_no_hits() -> None:
    parts, offsets, queries, _ = make(0, [5])
    empty = HITS.empty_table()
    no_queries = refine(queries[:0], hits(np.empty((0, 3), np.int64)), parts, offsets)
    assert no_queries.best(0, 0, 3).equals(empty)
    assert refine(queries, hits(np.full((4, 3), -1)), parts, offsets).best(0, 4, 3).equals(empty)


def test_queries_that_are_not_finite_are_refused() -> None:
    parts, offsets, queries, _ = make(0, [5])
    queries[0, 0] = np.inf
    with pytest.raises(InputError, match="1 of 4"):
        refine(queries, hits(np.zeros((4, 1), np.int64)), parts, offsets)
