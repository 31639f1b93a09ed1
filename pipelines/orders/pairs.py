"""Which pairs of n items a model compares, and what it says of a pair in both orders."""

import numpy as np

from shardrank.core.arrays import Float64, Int32


def every_pair(n: int) -> Int32:
    """int32[n (n - 1), 2]: each pair in both orders, by the first item, then by the second.

    All ordered pairs, as pairwise ranking prompting compares them (Qin et al., NAACL 2024).
    """
    first, second = np.nonzero(~np.eye(n, dtype=bool))
    return np.stack([first, second], axis=1).astype(np.int32)


def cycles(n: int, k: int, key: int) -> Int32:
    """int32[k n, 2]: the pairs of k random Hamiltonian cycles over n items, one after another.

    zELO (Pipitone et al., arXiv 2509.12541): pairs so drawn are few, connect all items, by short
    ways, and compare each item 2 k times. Cycles are drawn apart, as in the authors' zbench, so two
    of them have about 2 pairs in common, in either order; those of 2 items are one pair in both.

    Args:
        n: items; one item alone has no pairs.
        k: cycles.
        key: from 0 to 2^64 - 1, drawn from the query's id and the seed: the cycles depend on
            nothing else. They are the ranks of PCG64's raw numbers, which no version of numpy
            changes.
    """
    if n < 2:
        return np.empty((0, 2), np.int32)
    drawn = np.random.PCG64(key).random_raw(k * n).reshape(k, n)
    cycle = np.argsort(drawn, axis=1, kind="stable").astype(np.int32)
    return np.stack([cycle, np.roll(cycle, -1, axis=1)], axis=2).reshape(-1, 2)


def both_orders(shown_first: Float64, shown_second: Float64) -> Float64:
    """float64[…]: the mean preference for an item over both orders of its pair, which a bias for
    the first or the second place leaves as it is; NaN where either is NaN.

    For all pairs at once, of P[i, j] with i shown first: `both_orders(P, P.T)`.

    Args:
        shown_first: float64[…] in [0, 1], for i over j where i is shown first.
        shown_second: float64[…], for j over i where j is shown first.
    """
    mean: Float64 = (shown_first + (1 - shown_second)) / 2
    return mean
