"""Whether one of two runs is better than the other, by the differences that queries make.

Fisher's randomisation test asks how often a mean difference as large as the one that was seen comes
about where each query's difference has its sign by chance (Smucker, Allan and Carterette, 2007,
https://doi.org/10.1145/1321440.1321528). The interval is the bootstrap's: the middle 95 % of the
means of as many queries, drawn from these with replacement (Efron, 1979).
"""

from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float64

#: Draws of both, their seed, and how much of the bootstrap's means the interval holds.
DRAWS, SEED, INSIDE = 10_000, 0, 0.95
#: Up to so many queries that differ, all signs are tried: 2^13 is less than DRAWS.
EXACT = 13
#: Queries whose signs or draws are in memory at once.
_QUERIES, _AT_ONCE = 4096, 256
#: Differences that are sums of rounded terms are equal up to this.
_EQUAL = 1e-12


@dataclass(frozen=True)
class Paired:
    """One metric of two runs over the same queries.

    Attributes:
        metric: its name.
        first, second: the runs' means.
        low, high: the interval of the mean difference, second less first.
        p: of the randomisation test, two-sided.
        wins, ties, losses: queries in which the second is better, equal, worse.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    p: float
    wins: int
    ties: int
    losses: int

    @property
    def difference(self) -> float:
        """Of the means, second less first."""
        return self.second - self.first

    @property
    def queries(self) -> int:
        """That were compared."""
        return self.wins + self.ties + self.losses


def paired(metric: str, first: Float64, second: Float64) -> Paired:
    """The comparison of a metric's values, query by query; there is one query at least."""
    differences = second - first
    low, high = interval(differences)
    wins, losses = (int((sign * differences > _EQUAL).sum()) for sign in (1, -1))
    return Paired(
        metric=metric,
        first=float(first.mean()),
        second=float(second.mean()),
        low=low,
        high=high,
        p=randomised(differences),
        wins=wins,
        ties=len(differences) - wins - losses,
        losses=losses,
    )


def randomised(differences: Float64) -> float:
    """The share of random signs that give a sum as far from 0 as the one that was seen.

    Of the signs that are drawn, those that were seen count as one more; where all are tried they
    are among them.
    """
    some = differences[np.abs(differences) > _EQUAL]
    seen = abs(some.sum()) - _EQUAL * max(1, len(some))
    if len(some) <= EXACT:
        numbers = np.arange(1 << len(some))[:, np.newaxis]
        signs = 2.0 * (numbers >> np.arange(len(some)) & 1) - 1
        return float((np.abs(signs @ some) >= seen).mean())
    random, sums = np.random.default_rng(SEED), np.zeros(DRAWS)
    for at in range(0, len(some), _QUERIES):
        piece = some[at : at + _QUERIES]
        for row in range(0, DRAWS, _AT_ONCE):
            rows: Float64 = sums[row : row + _AT_ONCE]
            bits = np.frombuffer(random.bytes(len(rows) * _QUERIES // 8), np.uint8)
            ones = np.unpackbits(bits).reshape(len(rows), _QUERIES)[:, : len(piece)]
            rows += ones @ (2 * piece) - piece.sum()
    return float((1 + (np.abs(sums) >= seen).sum()) / (1 + DRAWS))


def interval(differences: Float64) -> tuple[float, float]:
    """The bootstrap's interval of the mean."""
    random, means = np.random.default_rng(SEED), np.empty(DRAWS)
    at_once = max(1, _QUERIES * _AT_ONCE // len(differences))
    for row in range(0, DRAWS, at_once):
        rows = means[row : row + at_once]
        drawn = random.integers(0, len(differences), (len(rows), len(differences)), np.int32)
        rows[:] = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - INSIDE) / 2, (1 + INSIDE) / 2])
    return float(low), float(high)
