"""The loop of `static_table.py`, as machine code."""

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.kernels.compiled import compiled


@compiled
def add_means(table: Float32, ids: Int32, ends: Int64, out: Float32) -> None:
    """Add to every row of `out` the mean of its tokens' vectors; none: nothing.

    Args:
        table: float32[v, d].
        ids: int32[t], the tokens of all texts, each less than v.
        ends: int64[n], where each text's tokens end.
        out: float32[n, d], zeros.
    """
    begin = 0
    for number in range(len(ends)):
        mine = out[number]
        for at in range(begin, ends[number]):
            row = table[ids[at]]
            for i in range(len(mine)):
                mine[i] += row[i]
        count = np.float32(max(ends[number] - begin, 1))
        for i in range(len(mine)):
            mine[i] /= count
        begin = ends[number]
