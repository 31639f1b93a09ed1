"""Products of vectors with a matrix whose sums have one order, as machine code.

A vector's bits must not depend on what stands beside it, which no matrix product of a library
promises. Sums of all columns run side by side, so that each has the order of the components.
"""

import numpy as np

from shardrank.core.arrays import Float32
from shardrank.kernels.compiled import compiled

#: Vectors that share one pass over the matrix: their sums stay in the innermost cache.
_ROWS = 8


@compiled
def rotate(vectors: Float32, columns: Float32, out: Float32) -> None:
    """out = vectors · columns, each sum from the first component to the last.

    Args:
        vectors: float32[n, d].
        columns: float32[d, e], contiguous.
        out: float32[n, e], filled.
    """
    for begin in range(0, len(vectors), _ROWS):
        end = min(begin + _ROWS, len(vectors))
        out[begin:end] = np.float32(0)
        for i in range(columns.shape[0]):
            column = columns[i]
            for row in range(begin, end):
                value, mine = vectors[row, i], out[row]
                for j in range(len(column)):
                    mine[j] += value * column[j]


def centred(vectors: Float32, mean: Float32, axes: Float32 | None) -> Float32:
    """float32[n, d] of vectors float32[n, d] without their mean float32[d], along the rows of
    `axes` float32[d, d], or along the components where there are none; see `rotate`."""
    moved: Float32 = vectors - mean
    return moved if axes is None else along(moved, axes)


def along(vectors: Float32, axes: Float32) -> Float32:
    """float32[n, e] of vectors float32[n, d]: how far they go along axes float32[e, d]."""
    out = np.empty((len(vectors), len(axes)), np.float32)
    rotate(np.ascontiguousarray(vectors), np.ascontiguousarray(axes.T), out)
    return out
