"""Scores of items from preferences between some pairs of them, by maximum likelihood.

Bradley and Terry (1952), whose scale is Elo's: item i is preferred to j with probability
1 / (1 + exp(r_j - r_i)), and 400 / ln 10 times a rating is in Elo's points. Thurstone's Case V
(1927): with probability Φ(r_i - r_j). zELO (arXiv 2509.12541) fits (1 + erf(e_i - e_j)) / 2, and so
its scores are these divided by the root of 2.

What is maximal is the sum of p log P + (1 - p) log(1 - P) over the preferences p, less PRIOR / 2
times the ratings' squares: a prior of variance 1 / PRIOR, without which an item that wins all would
have no finite rating. This is strictly concave, so Newton's method finds its one maximum, with
steps halved where they overshoot. Ratings of different queries have the same unit, and mean 0 each.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shardrank.core.arrays import Float64, Int32
from shardrank.core.errors import InputError

#: An item that surely beats another, and meets no third, is rated 5.8 above it; 3.3 by Thurstone.
PRIOR = 1e-3
#: The pull of all ratings together under which they are settled; steps, several times the usual.
_STILL, _STEPS = 1e-9, 200
#: Of a sum's last digits; and what is further below 0 is computed by a series.
_ROUNDING, _FAR = 1e-12, 25.0

Model = Literal["bradley-terry", "thurstone"]
#: Of differences float64[m]: log P, its first and its second derivative.
_Curve = Callable[[Float64], tuple[Float64, Float64, Float64]]


@dataclass(frozen=True)
class Ratings:
    """What `rated` found of n items.

    Attributes:
        scores: float64[n], of mean 0; higher is better.
        missing: preferences that were NaN, and so left out.
    """

    scores: Float64
    missing: int


def rated(n: int, pairs: Int32, preferences: Float64, model: Model) -> Ratings:
    """The ratings of n items under which the preferences are most likely.

    Args:
        n: items.
        pairs: int32[m, 2], in any order; a pair that stands there twice counts twice.
        preferences: float64[m] in [0, 1], for a pair's first item over its second; NaN: missing.
        model: of how a preference depends on two ratings.

    Raises:
        InputError: a preference is not in [0, 1], or the pairs whose preference is known do not
            connect all items.
    """
    known = ~np.isnan(preferences)
    pairs, kept = pairs[known], preferences[known]
    if len(kept) and not (kept.min() >= 0 and kept.max() <= 1):
        raise InputError(
            f"Preferences are from {kept.min():g} to {kept.max():g}, and not from 0 to 1."
        )
    _must_connect(n, pairs)
    scores = _fitted(n, pairs, kept, _CURVES[model])
    return Ratings(scores=scores, missing=int(np.count_nonzero(~known)))


def _must_connect(n: int, pairs: Int32) -> None:
    """Raises where some items are never compared with others, even by way of third ones."""
    part = np.arange(n)
    while len(pairs) and not np.array_equal(part[pairs[:, 0]], part[pairs[:, 1]]):
        low = part[pairs].min(axis=1)
        np.minimum.at(part, pairs[:, 0], low)
        np.minimum.at(part, pairs[:, 1], low)
    parts = len(np.unique(part))
    if parts > 1:
        raise InputError(
            f"{n} items fall into {parts} parts that no known preference connects, so their "
            "ratings cannot be compared.",
            "Ask for more pairs (cycles), or set this query aside.",
        )


def _fitted(n: int, pairs: Int32, preferences: Float64, curve: _Curve) -> Float64:
    """float64[n], of mean 0: the maximum, by Newton's method."""
    ratings = np.zeros(n)
    height, pull, bend = _likelihood(ratings, pairs, preferences, curve)
    for _ in range(_STEPS):
        if np.abs(pull).sum() < _STILL:
            break
        step, share = np.linalg.solve(bend, pull), 1.0
        lowest = height - _ROUNDING * abs(height)
        while (tried := _likelihood(ratings + share * step, pairs, preferences, curve))[0] < lowest:
            share /= 2
        ratings = ratings + share * step
        height, pull, bend = tried
    assert np.abs(pull).sum() < _STILL, f"ratings did not settle: {pull}"
    centred: Float64 = ratings - ratings.sum() / max(n, 1)
    return centred


def _likelihood(
    ratings: Float64, pairs: Int32, preferences: Float64, curve: _Curve
) -> tuple[float, Float64, Float64]:
    """The logarithm of the likelihood and the prior, its gradient, less its second derivative."""
    first, second = pairs.T
    won, won_slope, won_bend = curve(ratings[first] - ratings[second])
    lost, lost_slope, lost_bend = curve(ratings[second] - ratings[first])
    height = float(preferences @ won + (1 - preferences) @ lost - PRIOR / 2 * ratings @ ratings)
    slope = preferences * won_slope - (1 - preferences) * lost_slope
    pull = -PRIOR * ratings
    np.add.at(pull, first, slope)
    np.add.at(pull, second, -slope)
    bend = PRIOR * np.eye(len(ratings))
    down = -(preferences * won_bend + (1 - preferences) * lost_bend)
    for row, column, sign in ((0, 0, 1), (1, 1, 1), (0, 1, -1), (1, 0, -1)):
        np.add.at(bend, (pairs[:, row], pairs[:, column]), sign * down)
    return height, pull, bend


def _logistic(difference: Float64) -> tuple[Float64, Float64, Float64]:
    log = -np.logaddexp(0.0, -difference)
    lost = np.exp(-np.logaddexp(0.0, difference))
    return log, lost, -lost * (1 - lost)


def _probit(difference: Float64) -> tuple[Float64, Float64, Float64]:
    log = np.array([_log_normal(each) for each in difference.tolist()], np.float64)
    slope = np.exp(-(difference**2) / 2 - log) / math.sqrt(2 * math.pi)
    return log, slope, -slope * (difference + slope)


def _log_normal(x: float) -> float:
    """log Φ(x); far below 0 by its asymptotic series, to 1e-8 of itself."""
    if x > -_FAR:
        return math.log(math.erfc(-x / math.sqrt(2)) / 2)
    series = math.log1p(-(1 - 3 / x**2) / x**2)
    return series - x * x / 2 - math.log(-x * math.sqrt(2 * math.pi))


_CURVES: dict[Model, _Curve] = {"bradley-terry": _logistic, "thurstone": _probit}
