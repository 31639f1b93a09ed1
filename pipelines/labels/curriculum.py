"""How easy a training example is, for training curricula.

MacAvaney et al., Training Curricula for Open Domain Answer Re-Ranking, SIGIR 2020: a pair weighs
(D(d+) - D(d-) + 1) / 2, a positive alone D(d), another document alone 1 - D(d), where D is the
reciprocal of the retrieval rank ("reciprocal-rank", their D_recip) or the score scaled to [0, 1]
within the query ("score-gap", their D_norm; here of the teachers' scores).
"""

import numpy as np

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.labels.scored import Scored, runs_of


def easiness(scored: Scored, how: str) -> Float32:
    """float32[n] in [0, 1]: D of each candidate. What was not retrieved has rank infinity."""
    if how == "reciprocal-rank":
        return np.where(scored.rank > 0, 1.0 / np.maximum(scored.rank, 1), 0.0).astype(np.float32)
    starts, lengths = runs_of(scored.query)
    if not len(starts):
        return np.empty(0, np.float32)
    low, high = (
        np.repeat(extreme.reduceat(scored.score, starts), lengths)
        for extreme in (np.minimum, np.maximum)
    )
    width = np.where(high > low, high - low, np.float32(1))
    scaled: Float32 = ((scored.score - low) / width).astype(np.float32)
    return scaled


def weigh_pairs(ease: Float32, first: Int64, second: Int64) -> Float32:
    """float32[m] of the pairs (first[i], second[i])."""
    weight: Float32 = (ease[first] - ease[second] + np.float32(1)) / np.float32(2)
    return weight


def weigh_alone(ease: Float32, positive: Bool) -> Float32:
    """float32[n] of single candidates."""
    return np.where(positive, ease, np.float32(1) - ease)
