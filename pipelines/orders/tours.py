"""An order from preferences between all pairs: by wins, or by the best way through all items.

`copeland` counts wins (Copeland, 1951). `tour` is TSPRank (Li et al., KDD 2025, arXiv 2411.12064):
the order whose neighbours prefer each other most, a Hamiltonian path of maximum weight. The authors
leave it to a solver of integer programs; here it is exact up to EXACT items (Held and Karp, 1962),
and beyond that a local optimum: greedy insertion, then the best move until none is left, where a
move turns a run of items round (2-opt) or shifts up to 3 of them (or-opt).

Only neighbours count in a tour. Preferences that are nearly linear in how good the items are (all
of them near 1/2) hardly tell one way from another between the same two ends.
"""

import numpy as np

from shardrank.core.arrays import Bool, Float64, Int8, Int32, Int64
from shardrank.core.errors import InputError
from shardrank.orders.by_score import by_score

#: Items up to which a tour is exact: 2^12 sets of them.
EXACT = 12
#: Preferences are whole numbers of this much, so that sums are exact, and so are ties.
_UNIT = 2.0**-40
_NEVER = np.iinfo(np.int64).min // 2
_SHIFTED = 3


def copeland(preferences: Float64) -> Int32:
    """int32[n]: the items by how many others they beat, in the old order where that ties.

    A preference of 1/2 is half a win, and so is one that is missing.

    Args:
        preferences: float64[n, n] in [0, 1], of the row's item over the column's; NaN: missing.
            The diagonal is not read.

    Raises:
        InputError: it is not that.
    """
    known = _neutral(preferences)
    wins = (known > 0.5) + 0.5 * (known == 0.5)
    return by_score(wins.sum(axis=1))


def tour(preferences: Float64, exact: int = EXACT) -> Int32:
    """int32[n]: the order in which the preferences of each item over the next sum up to most.

    Of several exact tours it is the first in the order of their items' numbers. A preference that
    is missing counts as 1/2.

    Args:
        preferences: see `copeland`.
        exact: items up to which the tour is exact, in time and memory of 2^n.

    Raises:
        InputError: as `copeland`.
    """
    weights = np.rint(_neutral(preferences) / _UNIT).astype(np.int64)
    if len(weights) < 2:
        return np.arange(len(weights), dtype=np.int32)
    return _best(weights) if len(weights) <= exact else _improved(weights)


def _neutral(preferences: Float64) -> Float64:
    """The preferences, with 1/2 where one is missing, and on the diagonal."""
    if preferences.ndim != 2 or len(set(preferences.shape)) > 1:
        raise InputError(f"Preferences are {preferences.shape}, not one for each pair of items.")
    unknown = np.isnan(preferences) | np.eye(len(preferences), dtype=bool)
    known: Float64 = np.where(unknown, 0.5, preferences)
    wrong = np.count_nonzero((known < 0) | (known > 1))
    if wrong:
        raise InputError(
            f"{wrong} of {known.size} preferences are not from 0 to 1.",
            "Give the probability that one item is better than the other, not a logit.",
        )
    return known


def _best(weights: Int64) -> Int32:
    """The exact tour, by the weight of the best way through each set of items from each of them."""
    n = len(weights)
    sets = np.arange(1 << n)
    holds = (sets[:, None] >> np.arange(n)) & 1 == 1
    sizes = holds.sum(axis=1)
    weight = np.full((1 << n, n), _NEVER)
    weight[1 << np.arange(n), np.arange(n)] = 0
    follows = np.zeros((1 << n, n), np.int8)
    for size in range(2, n + 1):
        for first in range(n):
            chosen = sets[(sizes == size) & holds[:, first]]
            ways = weight[chosen ^ (1 << first)] + weights[first]
            follows[chosen, first] = ways.argmax(axis=1)  # the lowest number of those that tie
            weight[chosen, first] = ways.max(axis=1)
    return _unrolled(int(weight[-1].argmax()), follows)


def _unrolled(first: int, follows: Int8) -> Int32:
    """The items of the best way from `first` through all."""
    order, left = [first], len(follows) - 1
    while left != 1 << order[-1]:
        order.append(int(follows[left, order[-1]]))
        left ^= 1 << order[-2]
    return np.array(order, np.int32)


def _improved(weights: Int64) -> Int32:
    """The local optimum. A place without weight stands at both ends, so that none is special."""
    n = len(weights)
    runs = range(1, min(_SHIFTED, n) + 1)
    weights = np.pad(weights, (0, 1))
    way = _inserted(weights)
    while True:
        gain, moved = max(
            (_turned(weights, way), *(_shifted(weights, way, run) for run in runs)),
            key=lambda move: move[0],
        )
        if gain <= 0:
            return way[1 : n + 1]
        way = moved


def _inserted(weights: Int64) -> Int32:
    """int32[n + 2]: each item in turn where it adds most, as late as possible; the ends are n."""
    n = len(weights) - 1
    way = np.array([n, n], np.int32)
    for item in range(n):
        before, after = way[:-1], way[1:]
        gains = weights[before, item] + weights[item, after] - weights[before, after]
        place = len(gains) - int(gains[::-1].argmax())
        way = np.insert(way, place, item).astype(np.int32)
    return way


def _turned(weights: Int64, way: Int32) -> tuple[int, Int32]:
    """The best that turning a run round gains, and the way after it."""
    there = np.concatenate([[0], np.cumsum(weights[way[:-1], way[1:]])])
    back = np.concatenate([[0], np.cumsum(weights[way[1:], way[:-1]])])
    first, last = np.arange(1, len(way) - 1)[:, None], np.arange(1, len(way) - 1)[None, :]
    inner = (back[last] - back[first]) - (there[last + 1] - there[first - 1])
    outer = weights[way[first - 1], way[last]] + weights[way[first], way[last + 1]]
    gains = np.where(first < last, inner + outer, 0)
    begin, end = np.add(np.unravel_index(int(gains.argmax()), gains.shape), 1)
    turned = np.concatenate([way[:begin], way[begin : end + 1][::-1], way[end + 1 :]])
    return int(gains.max()), turned


def _shifted(weights: Int64, way: Int32, length: int) -> tuple[int, Int32]:
    """The best that shifting a run of `length` items gains, and the way after it."""
    first = np.arange(1, len(way) - length)[:, None]
    gap = np.arange(len(way) - 1)[None, :]  # the run goes between this place and the next
    last = first + length - 1
    before, head, tail, after = way[first - 1], way[first], way[last], way[last + 1]
    taken = weights[before, after] - weights[before, head] - weights[tail, after]
    put = weights[way[gap], head] + weights[tail, way[gap + 1]] - weights[way[gap], way[gap + 1]]
    outside: Bool = (gap < first - 1) | (gap > last)
    gains = np.where(outside, taken + put, 0)
    begin, place = np.unravel_index(int(gains.argmax()), gains.shape)
    run = np.arange(begin + 1, begin + 1 + length)
    at = place + 1 if place < begin else place + 1 - length
    return int(gains.max()), np.insert(np.delete(way, run), at, way[run])
