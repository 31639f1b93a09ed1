"""How preferences between pairs become an order or scores."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Float64, Int32
from shardrank.core.errors import InputError
from shardrank.orders.by_score import by_score
from shardrank.orders.pairs import both_orders, cycles, every_pair
from shardrank.orders.ratings import PRIOR, Model, rated
from shardrank.orders.tours import copeland, tour

seeds = st.integers(0, 2**32 - 1)
MODELS: list[Model] = ["bradley-terry", "thurstone"]


def test_every_pair_in_both_orders() -> None:
    assert every_pair(3).tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert every_pair(1).shape == every_pair(0).shape == (0, 2)


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**64 - 1))
def test_cycles_go_through_all_items_and_back(n: int, k: int, key: int) -> None:
    pairs = cycles(n, k, key)
    assert (pairs.shape, pairs.dtype) == ((k * n, 2), np.int32)
    assert np.bincount(pairs.ravel()).tolist() == [2 * k] * n
    for cycle in pairs.reshape(k, n, 2):
        following = dict(cycle.tolist())
        item, seen = 0, [0]
        while (item := following[item]) != 0:
            seen.append(item)
        assert sorted(seen) == list(range(n))
    assert np.array_equal(pairs, cycles(n, k, key))


def test_cycles_depend_on_their_key_alone_and_on_no_version() -> None:
    assert cycles(5, 1, 7).tolist() == [[3, 4], [4, 0], [0, 2], [2, 1], [1, 3]]
    assert not np.array_equal(cycles(20, 2, 1), cycles(20, 2, 2))
    assert np.array_equal(cycles(20, 3, 1)[:40], cycles(20, 2, 1))
    assert cycles(1, 3, 0).shape == cycles(0, 3, 0).shape == (0, 2)


def test_two_orders_cancel_a_bias_for_a_place() -> None:
    true = np.array([[0.5, 0.7], [0.3, 0.5]])
    assert both_orders(true + 0.2, (true + 0.2).T) == pytest.approx(true)
    assert np.isnan(both_orders(np.array([0.5, np.nan]), np.array([np.nan, 0.5]))).all()


def test_scores_order_items_with_what_has_none_last() -> None:
    scores = np.array([np.nan, 1.0, 2.0, 1.0, -np.inf, np.nan], np.float32)
    assert by_score(scores).tolist() == [2, 1, 3, 4, 0, 5]
    assert by_score(scores).dtype == np.int32


def drawn(n: int, seed: int, levels: int) -> Float64:
    """Preferences of a few levels, so that many tie; one in eight is missing."""
    random = np.random.default_rng(seed)
    preferences = random.integers(0, levels + 1, (n, n)) / levels
    preferences[random.random((n, n)) < 1 / 8] = np.nan
    return preferences


def weight(preferences: Float64, order: list[int]) -> float:
    """Of multiples of 1/8, so that sums have no rounding."""
    return sum(float(np.nan_to_num(preferences[i, j], nan=0.5)) for i, j in pairwise(order))


@settings(max_examples=40)
@given(st.integers(0, 6), seeds)
def test_a_tour_is_the_best_of_all_orders(n: int, seed: int) -> None:
    preferences = drawn(n, seed, 8)
    found = tour(preferences)
    best = max(permutations(range(n)), key=lambda order: weight(preferences, [*order]))
    assert found.tolist() == [*best]  # max takes the first of those that tie
    assert found.dtype == np.int32


def test_a_tour_of_seven_is_the_best_of_all_orders() -> None:
    preferences = drawn(7, 1, 8)
    best = max(permutations(range(7)), key=lambda order: weight(preferences, [*order]))
    assert tour(preferences).tolist() == [*best]


def moves(order: list[int]) -> list[list[int]]:
    """All that turning a run round, or shifting up to three items, makes of an order."""
    n = len(order)
    turned = [
        order[:i] + order[i:j][::-1] + order[j:] for i in range(n) for j in range(i + 2, n + 1)
    ]
    shifted = [
        rest[:to] + order[i : i + run] + rest[to:]
        for run in (1, 2, 3)
        for i in range(n - run + 1)
        for rest in [order[:i] + order[i + run :]]
        for to in range(len(rest) + 1)
    ]
    return turned + shifted


@settings(max_examples=30)
@given(st.integers(2, 11), seeds)
def test_a_searched_tour_cannot_be_improved_by_a_move(n: int, seed: int) -> None:
    preferences = drawn(n, seed, 8)
    found = tour(preferences, exact=1).tolist()
    reached = weight(preferences, found)
    assert sorted(found) == list(range(n))
    assert reached >= max(weight(preferences, order) for order in moves(found))
    assert reached <= weight(preferences, tour(preferences).tolist())


def test_searched_tours_come_near_the_best() -> None:
    shares = []
    for seed in range(20):
        preferences = np.random.default_rng(seed).random((11, 11))
        best = weight(preferences, tour(preferences).tolist())
        shares.append(weight(preferences, tour(preferences, exact=1).tolist()) / best)
    assert min(shares) > 0.93
    assert np.mean(shares) > 0.97


@pytest.mark.parametrize("n", [0, 1, 2, 12, 13, 60])
def test_preferences_that_agree_are_obeyed(n: int) -> None:
    true = np.random.default_rng(n).permutation(n)
    place = np.argsort(true)
    preferences = (place[:, None] < place[None, :]).astype(np.float64)
    assert tour(preferences).tolist() == true.tolist()
    assert copeland(preferences).tolist() == true.tolist()


@pytest.mark.parametrize("n", [5, 30])
def test_where_nothing_is_preferred_the_old_order_stays(n: int) -> None:
    for preferences in (np.full((n, n), 0.5), np.full((n, n), np.nan)):
        assert tour(preferences).tolist() == list(range(n))
        assert copeland(preferences).tolist() == list(range(n))


def test_copeland_counts_wins_with_ties_halved() -> None:
    preferences = np.array(
        [
            [9.0, 0.5, 0.1, 0.2],
            [0.5, 9.0, 0.9, np.nan],
            [0.9, 0.1, 9.0, 0.5],
            [0.8, 0.6, 0.5, 9.0],
        ]
    )  # 0.5, 2, 1.5, 2.5; the diagonal is not read
    assert copeland(preferences).tolist() == [3, 1, 2, 0]


@given(st.integers(1, 12), seeds)
def test_copeland_is_the_count_of_wins(n: int, seed: int) -> None:
    preferences = drawn(n, seed, 4)
    wins = [
        sum(
            1.0 if p > 0.5 else 0.0 if p < 0.5 else 0.5
            for j, p in enumerate(row.tolist())
            if j != i
        )
        for i, row in enumerate(preferences)
    ]
    assert copeland(preferences).tolist() == sorted(range(n), key=lambda item: -wins[item])


@pytest.mark.parametrize("order", [tour, copeland])
def test_what_is_no_preference_is_refused(order: object) -> None:
    assert callable(order)
    with pytest.raises(InputError, match="not one for each pair"):
        order(np.zeros((2, 3)))
    with pytest.raises(InputError, match="2 of 4 preferences are not from 0 to 1"):
        order(np.array([[0.5, -3.0], [3.0, 0.5]]))


def probability(difference: float, model: Model) -> float:
    if model == "thurstone":
        return (1 + math.erf(difference / math.sqrt(2))) / 2
    return 1 / (1 + math.exp(-difference))


def exact(true: Float64, pairs: Int32, model: Model) -> Float64:
    return np.array([probability(true[i] - true[j], model) for i, j in pairs.tolist()])


@settings(max_examples=40)
@given(st.integers(2, 15), st.integers(1, 4), seeds, st.sampled_from(MODELS))
def test_exact_probabilities_give_the_true_ratings(n: int, k: int, seed: int, model: Model) -> None:
    true = np.random.default_rng(seed).permutation(np.linspace(-1, 1, n))
    pairs = cycles(n, k, seed)
    found = rated(n, pairs, exact(true, pairs, model), model)
    assert by_score(found.scores).tolist() == by_score(true).tolist()
    assert np.abs(found.scores - true).max() < 0.03  # of the prior
    assert abs(found.scores.sum()) < 1e-9
    assert found.missing == 0


@settings(max_examples=25)
@given(st.integers(2, 8), seeds, st.sampled_from(MODELS))
def test_ratings_are_where_the_likelihood_is_level(n: int, seed: int, model: Model) -> None:
    """The derivatives of the formula by differences, for preferences that no ratings explain."""
    random = np.random.default_rng(seed)
    pairs = np.concatenate([cycles(n, 1, seed), every_pair(n)[:3]])
    preferences = random.integers(0, 5, len(pairs)) / 4

    def likelihood(ratings: Float64) -> float:
        total = -PRIOR / 2 * float(ratings @ ratings)
        for (i, j), p in zip(pairs.tolist(), preferences.tolist(), strict=True):
            total += p * math.log(probability(ratings[i] - ratings[j], model))
            total += (1 - p) * math.log(probability(ratings[j] - ratings[i], model))
        return total

    found = rated(n, pairs, preferences, model).scores
    for item in range(n):
        step = 1e-5 * (np.arange(n) == item)
        assert abs(likelihood(found + step) - likelihood(found - step)) / 2e-5 < 1e-6


@pytest.mark.parametrize("model", MODELS)
def test_an_item_that_wins_all_has_a_finite_rating(model: Model) -> None:
    pairs = cycles(60, 4, 3)
    found = rated(60, pairs, (pairs[:, 0] < pairs[:, 1]).astype(np.float64), model)
    assert np.isfinite(found.scores).all()
    assert np.corrcoef(by_score(found.scores), np.arange(60))[0, 1] > 0.95
    apart = np.ptp(rated(2, np.array([[0, 1]], np.int32), np.ones(1), model).scores)
    assert apart == pytest.approx({"bradley-terry": 5.8, "thurstone": 3.3}[model], abs=0.05)


@given(st.integers(2, 12), seeds, st.sampled_from(MODELS))
def test_what_is_missing_is_left_out_and_counted(n: int, seed: int, model: Model) -> None:
    pairs = np.concatenate([cycles(n, 1, seed), every_pair(n)])
    known = np.random.default_rng(seed).random(len(pairs))
    gone = np.where(np.arange(len(pairs)) < n, known, np.nan)
    found = rated(n, pairs, gone, model)
    assert found.missing == n * (n - 1)
    assert np.array_equal(found.scores, rated(n, pairs[:n], known[:n], model).scores)


def test_parts_that_nothing_connects_are_refused() -> None:
    pairs = np.array([[0, 1], [2, 3], [3, 4], [1, 2]], np.int32)
    whole = np.array([0.5, 0.5, 0.5, 0.5])
    assert rated(5, pairs, whole, "thurstone").scores == pytest.approx(np.zeros(5))
    with pytest.raises(InputError, match="5 items fall into 2 parts"):
        rated(5, pairs, np.array([0.5, 0.5, 0.5, np.nan]), "thurstone")
    with pytest.raises(InputError, match="2 items fall into 2 parts"):
        rated(2, np.empty((0, 2), np.int32), np.empty(0), "bradley-terry")
    assert rated(1, np.empty((0, 2), np.int32), np.empty(0), "thurstone").scores.tolist() == [0.0]
    assert rated(0, np.empty((0, 2), np.int32), np.empty(0), "thurstone").scores.shape == (0,)


def test_a_logit_is_no_preference() -> None:
    with pytest.raises(InputError, match="from -3 to 2"):
        rated(2, np.array([[0, 1], [1, 0]], np.int32), np.array([-3.0, 2.0]), "thurstone")
