"""An order from scores."""

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int32


def by_score(scores: Float32 | Float64) -> Int32:
    """int32[n]: the items from the highest score; those that tie, and then those whose score is
    NaN, in the old order."""
    return np.argsort(-scores, kind="stable").astype(np.int32)
