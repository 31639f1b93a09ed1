"""Batches by token budget: rows of like length go together, so that little is padding."""

import numpy as np

from shardrank.core.arrays import Int32, Int64


def plan_batches(lengths: Int32, budget: int) -> list[Int64]:
    """Cut a block's rows into batches, longest rows first.

    Args:
        lengths: int32[n], tokens in each row.
        budget: the most padded tokens (rows × longest row) in a batch, at least 1. A row longer
            than that is a batch of its own.

    Returns:
        Row numbers, int64[rows of the batch] for each batch; every row is in exactly one. Rows of
        equal length keep their order, so equal input gives equal batches. Memory peaks in the
        first batch: what does not fit fails at once, not after an hour.
    """
    order = np.argsort(-lengths.astype(np.int64), kind="stable")  # int64[n]
    batches: list[Int64] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, budget // longest)
        batches.append(order[start:stop])
        start = stop
    return batches
