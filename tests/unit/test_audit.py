import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.audit import (
    REFINED_PRODUCTS,
    AuditPoint,
    CostModel,
    Probe,
    choose,
    depth_grid,
    merge_probes,
    probe_grid,
    recall_curve,
)

COSTS = CostModel(passages=1000, shards=2, nlist=10, dim=4)

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
    assert COSTS.products(1, 10) == 100 * 4 + 20 * REFINED_PRODUCTS
    assert COSTS.products(99, 10) == 1000 * 4 + 20 * REFINED_PRODUCTS
    assert COSTS.products(1, 900) == 100 * 4 + 100 * REFINED_PRODUCTS  # no more than was scanned


def test_recall_counts_the_nearest_of_all_shards() -> None:
    one = Probe(np.float32([[9, 5]]), np.int32([[[0, 1], [1, 2]]]))
    two = Probe(np.float32([[7, 6]]), np.int32([[[3, 3], [0, 9]]]))
    merged = merge_probes([one, two], 3)
    assert merged.scores.tolist() == [[9, 7, 6]]
    curve = recall_curve(merged, [1, 10], [2, 4], COSTS)
    assert [(p.nprobe, p.depth, round(p.recall * 3)) for p in curve] == [
        (1, 2, 0),
        (1, 4, 1),
        (10, 2, 1),
        (10, 4, 2),
    ]


def test_missing_neighbours_do_not_count() -> None:
    probe = Probe(np.float32([[1, -np.inf]]), np.int32([[[1], [0]]]))
    assert recall_curve(probe, [1], [5], COSTS)[0].recall == 1
    none = Probe(np.empty((0, 3), np.float32), np.empty((0, 3, 1), np.int32))
    assert recall_curve(none, [1], [5], COSTS)[0].recall == 1


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**31))
def test_merging_probes_is_associative(k: int, split: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shards = [
        Probe(
            -np.sort(-rng.integers(0, 4, (2, k)).astype(np.float32), axis=1),
            rng.integers(0, 9, (2, k, 3)).astype(np.int32),
        )
        for _ in range(6)
    ]
    whole = merge_probes(shards, k)
    halves = [merge_probes(half, k) for half in (shards[:split], shards[split:]) if half]
    nested = merge_probes(halves, k)
    assert np.array_equal(whole.scores, nested.scores)
    assert np.array_equal(whole.ranks, nested.ranks)


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
