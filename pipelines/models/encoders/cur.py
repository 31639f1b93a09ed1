"""The factor between rows and columns of a matrix of which no more is known (CUR, the skeleton).

Of a matrix of the rank of S = its elements where the known rows and columns cross, C · pinv(S) · R
is the whole matrix, exactly (Goreinov, Tyrtyshnikov & Zamarashkin 1997; Mahoney & Drineas 2009).
"""

import numpy as np

from shardrank.core.arrays import Float32

#: Singular values below this share of the largest count as 0: their inverses would let what is a
#: query's own outweigh all else, the more so the nearer the numbers of rows and columns are.
LEAST = 1e-2


def cross_factor(crossing: Float32, least: float = LEAST) -> Float32:
    """float32[p, q], the pseudo-inverse of float32[q, p], all of it finite. By torch, which the
    caller keeps to one thread: its sums then have one order.

    Args:
        crossing: scores of the q anchor queries with the p anchor passages.
        least: singular values below this share of the largest count as 0.
    """
    import torch

    whole = torch.from_numpy(crossing.astype(np.float64))
    left, values, right = torch.linalg.svd(whole, full_matrices=False)
    kept = values > least * values[0]
    inverse = (right[kept].T / values[kept]) @ left[:, kept].T
    return np.ascontiguousarray(inverse.numpy(), np.float32)
