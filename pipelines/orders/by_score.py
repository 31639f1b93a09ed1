"""An order from scores, and scores from an order."""

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int32


def by_score(scores: Float32 | Float64) -> Int32:
    """int32[n]: the items from the highest score; those that tie, and then those whose score is
    NaN, in the old order."""
    return np.argsort(-scores, kind="stable").astype(np.int32)


def minus_ranks(order: Int32) -> Float32:
    """float32[n]: of each item minus its rank in an order of all n, from -1; nothing but the order
    can be told from them."""
    scores = np.empty(len(order), np.float32)
    scores[order] = -np.arange(1, len(order) + 1)
    return scores
