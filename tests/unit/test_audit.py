from functools import reduce
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardrank.version.recall import (
    REFINED_PRODUCTS,
    AuditPoint,
    CostModel,
    Grid,
    Probe,
    choose,
    depth_grid,
    merge_probes,
    probe_grid,
    recall_curve,
)

COSTS = CostModel(passages=1000, nlist=10, dim=4)
NOT = -np.inf

points = st.lists(
    st.builds(
        AuditPoint,
        st.integers(1, 64),
        st.integers(1, 64),
        st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
        st.sampled_from([1.0, 2.0, 5.0]),
    )
)


def test_grids() -> None:
    assert probe_grid(1) == [1]
    assert probe_grid(8) == [1, 2, 4, 8]
    assert probe_grid(10) == [1, 2, 4, 8, 10]
    assert depth_grid(100, 2000) == [100, 200, 400, 800, 1600, 2000]
    assert depth_grid(100, 200) == [100, 200]
    assert depth_grid(7, 7) == [7]


def test_costs_are_products() -> None:
    assert COSTS.products(1, 20) == 100 * 4 + 20 * REFINED_PRODUCTS
    assert COSTS.products(99, 20.5) == 1000 * 4 + 20.5 * REFINED_PRODUCTS


def probe(scores: Any, found: Any, hits: Any) -> Probe:
    return Probe(np.float32(scores), np.float32(found), np.array(hits, np.int64))


def test_recall_counts_the_nearest_of_all_shards() -> None:
    """k = 2 of 3 that are followed, at two values of nprobe and one depth."""
    one = probe([[9, 5, 4]], [[[[NOT], [9]], [[5], [5]], [[4], [4]]]], [[3], [6]])
    two = probe([[7, 6, 1]], [[[[7], [7]], [[6], [NOT]], [[NOT], [1]]]], [[2], [2]])
    merged = merge_probes(one, two, 3)
    assert merged.scores.tolist() == [[9, 7, 6]]
    curve = recall_curve(merged, 2, Grid([1, 10], [2]), COSTS)
    assert [(p.nprobe, p.depth, p.recall) for p in curve] == [(1, 2, 0.5), (10, 2, 1)]
    assert [p.cost for p in curve] == [COSTS.products(1, 5), COSTS.products(10, 8)]


def test_a_document_known_by_a_worse_passage_takes_the_place_that_its_score_gives() -> None:
    def recall(*found: float) -> float:
        table = probe([[9, 8, 7]], [[[[score]] for score in found]], [[1]])
        return recall_curve(table, 2, Grid([1], [2]), COSTS)[0].recall

    assert recall(9, 8, 7) == 1
    assert recall(9, 7.5, 7) == 1  # still before the third
    assert recall(9, 7.5, NOT) == 1
    assert recall(7.5, 7.6, 7.7) == 0.5
    assert recall(9, 6.5, NOT) == 0.5  # who knows what else scores 6.6
    assert recall(NOT, NOT, 7) == 0


def test_missing_neighbours_do_not_count() -> None:
    one = probe([[1, NOT]], [[[[1]], [[NOT]]]], [[1]])
    assert recall_curve(one, 1, Grid([1], [5]), COSTS)[0].recall == 1
    few = probe([[1, 0.5, NOT]], [[[[0.2]], [[NOT]], [[NOT]]]], [[1]])
    assert recall_curve(few, 2, Grid([1], [5]), COSTS)[0].recall == 0.5  # there is no other
    none = probe(np.empty((0, 3)), np.empty((0, 3, 1, 1)), [[0]])
    assert recall_curve(none, 2, Grid([1], [5]), COSTS)[0].recall == 1


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_merging_probes_is_associative(n: int, split: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shards = [
        probe(
            -np.sort(-rng.integers(0, 4, (2, n)), axis=1),
            rng.integers(0, 9, (2, n, 3, 2)),
            rng.integers(0, 9, (3, 2)),
        )
        for _ in range(6)
    ]

    def merged(some: list[Probe]) -> Probe:
        return reduce(lambda one, other: merge_probes(one, other, n), some)

    whole, nested = merged(shards), merged([merged(shards[:split]), merged(shards[split:])])
    assert np.array_equal(whole.scores, nested.scores)
    assert np.array_equal(whole.found, nested.found)
    assert np.array_equal(whole.hits, nested.hits)


@given(points, st.sampled_from([0.0, 0.4, 0.8, 1.0]), st.sampled_from([0.0, 0.4, 0.8, 1.0]))
def test_a_higher_target_is_never_cheaper(
    curve: list[AuditPoint], one: float, other: float
) -> None:
    low, high = choose(curve, min(one, other)), choose(curve, max(one, other))
    if high is None:
        assert all(p.recall < max(one, other) for p in curve)
    else:
        assert high.recall >= max(one, other)
        assert low is not None
        assert low.cost <= high.cost


@given(points, st.data())
def test_the_choice_is_the_cheapest_in_any_order(
    curve: list[AuditPoint], data: st.DataObject
) -> None:
    chosen = choose(curve, 0.5)
    assert choose(data.draw(st.permutations(curve)), 0.5) == chosen
    assert chosen is None or chosen.cost == min(p.cost for p in curve if p.recall >= 0.5)
