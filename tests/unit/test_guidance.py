"""Guided query refinement against torch's gradient of the formula, and its bad days."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Float32, Float64
from shardrank.core.guidance import Guidance, guided
from shardrank.core.schemas import HITS
from shardrank.stages.rank.guided import scores_of

HOW = Guidance("bm25", documents=5, steps=7, rate=0.02, weight=0.4, temperature=0.1)


def by_autograd(query: Float32, pool: Float32, scores: Float64) -> Float64:
    """The formula of the docstring, by torch.nn.functional.kl_div and SGD."""
    given, vectors = torch.tensor(scores), torch.tensor(pool, dtype=torch.float64)
    z = torch.tensor(query, dtype=torch.float64, requires_grad=True)
    scaled = (given - given.mean()) / given.std(correction=0)
    before = torch.softmax(vectors @ z.detach() / HOW.temperature, 0)
    target = (1 - HOW.weight) * before + HOW.weight * torch.softmax(scaled, 0)
    descent = torch.optim.SGD([z], lr=HOW.rate)
    for _ in range(HOW.steps):
        descent.zero_grad()
        now = torch.log_softmax(vectors @ z / HOW.temperature, 0)
        loss = torch.nn.functional.kl_div(now, target, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return z.detach().numpy()


def drawn(seed: int, *sizes: int) -> tuple[Float32, Float32, Float64]:
    random = np.random.default_rng(seed)
    queries = random.standard_normal((len(sizes), 8), np.float32)
    pools = random.standard_normal((sum(sizes), 8), np.float32)
    return queries, pools, random.gamma(2.0, 5.0, sum(sizes))


def test_steps_are_those_of_autograd() -> None:
    queries, pools, scores = drawn(0, 5, 3)
    query = np.repeat([0, 1], [5, 3]).astype(np.int32)
    found = guided(queries, query, pools, scores, HOW)
    for row, at in enumerate([slice(0, 5), slice(5, 8)]):
        wanted = by_autograd(queries[row], pools[at], scores[at])
        assert found[row] == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_a_query_moves_by_its_own_pool_alone(seed: int, sizes: list[int]) -> None:
    """The same bits in any batch; one without a pool stays."""
    queries, pools, scores = drawn(seed, *sizes)
    query = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    found = guided(queries, query, pools, scores, HOW)
    for row, size in enumerate(sizes):
        mine = query == row
        zero = np.zeros(size, np.int32)
        alone = guided(queries[row : row + 1], zero, pools[mine], scores[mine], HOW)
        np.testing.assert_array_equal(found[row], alone[0])
        if not size:
            np.testing.assert_array_equal(found[row], queries[row])


def test_scores_come_nearer_to_the_guides() -> None:
    queries, pools, scores = drawn(3, 6)
    far = Guidance("bm25", documents=6, steps=500, rate=0.05, weight=1, temperature=0.5)
    zero = np.zeros(6, np.int32)
    moved = guided(queries, zero, pools, scores, far)
    assert list(np.argsort(pools @ moved[0])) == list(np.argsort(scores))


@pytest.mark.parametrize("scores", [[2.0, 2.0, 2.0], [np.nan] * 3])
def test_a_guide_that_tells_nothing_makes_all_equal(scores: list[float]) -> None:
    queries, pools, _ = drawn(4, 3)
    zero = np.zeros(3, np.int32)
    found = guided(queries, zero, pools, np.array(scores), HOW)
    equal = guided(queries, zero, pools, np.array([0.0, 0.0, 0.0]), HOW)
    np.testing.assert_array_equal(found, equal)
    assert np.isfinite(found).all()


def test_a_document_that_the_guide_lacks_counts_as_its_last() -> None:
    queries, pools, _ = drawn(5, 3)
    zero = np.zeros(3, np.int32)
    found, last = (
        guided(queries, zero, pools, np.array([3.0, 1.0, score]), HOW) for score in (np.nan, 1.0)
    )
    np.testing.assert_array_equal(found, last)


def hits(*rows: tuple[int, str, float]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"query": q, "doc_id": d, "passage": 0, "score": s, "part": 0, "row": 0}
            for q, d, s in rows
        ],
        schema=HITS,
    )


def test_scores_are_found_by_query_and_document() -> None:
    pool = hits((0, "a", 0.9), (0, "b", 0.8), (1, "a", 0.7), (2, "c", 0.1))
    guide = hits((0, "b", 5.0), (1, "a", 4.0), (1, "b", 3.0))
    np.testing.assert_array_equal(scores_of(pool, guide), [np.nan, 5.0, 4.0, np.nan])
    np.testing.assert_array_equal(scores_of(pool, hits()), [np.nan] * 4)
