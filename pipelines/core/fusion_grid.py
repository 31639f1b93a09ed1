"""The fusions that are tried where one is to be chosen, and how far two of them are apart."""

from itertools import combinations_with_replacement
from math import comb

from shardrank.core.rank_settings import FusionSettings

#: Each way of fusing that there is. The constant of rrf stays as the run has it.
WAYS = (
    {"how": "rrf"},
    {"how": "scores", "norm": "min-max"},
    {"how": "scores", "norm": "z"},
)
#: Into how many steps weights that add up to 1 are cut: the first of these that gives no more than
#: MOST weightings. Two retrievers are weighted in twentieths, three in fifths, four in thirds.
STEPS = (20, 10, 5, 3, 2)
MOST = 21


def weightings(lists: int) -> list[tuple[float, ...]]:
    """Weights of so many lists: every cut of 1 into equal steps, and all equal."""
    steps = next((n for n in STEPS if comb(n + lists - 1, lists - 1) <= MOST), 1)
    cuts = combinations_with_replacement(range(lists), steps)
    found = [tuple(round(cut.count(n) / steps, 4) for n in range(lists)) for cut in cuts]
    equal = (1.0,) * lists
    return found if any(len({*each}) == 1 for each in found) else [*found, equal]


def fusion_grid(own: FusionSettings, lists: int) -> list[FusionSettings]:
    """A run's own fusion, and each way of fusing with each of the `weightings`.

    All name their weights; what does the same as the run's own is not there a second time.
    """
    ours = _changed(own, {}, own.weights or (1.0,) * lists)
    grid = (_changed(own, way, weights) for way in WAYS for weights in weightings(lists))
    return [ours, *(each for each in grid if distance(each, ours) > (False, 0))]


def distance(one: FusionSettings, other: FusionSettings) -> tuple[bool, float]:
    """Whether they fuse in different ways, and how far their weights are apart, each as its share
    of all. Both name as many weights."""
    shares = zip(_shares(one), _shares(other), strict=True)
    # Rounded, so that equal distances are equal, and weights in proportion have none.
    return _way(one) != _way(other), round(sum(abs(a - b) for a, b in shares), 6)


def _changed(
    own: FusionSettings, way: dict[str, str], weights: tuple[float, ...]
) -> FusionSettings:
    return FusionSettings.model_validate(own.model_dump() | way | {"weights": weights})


def _way(fusion: FusionSettings) -> tuple[str, ...]:
    """What its terms depend on, but for the constant."""
    return ("rrf",) if fusion.how == "rrf" else ("scores", fusion.norm)


def _shares(fusion: FusionSettings) -> list[float]:
    weights = fusion.weights or ()
    return [weight / sum(weights) for weight in weights]
