"""Several teachers as one score."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Float32, Int32, UInt64
from shardrank.labels.scored import rank_within

#: Of reciprocal rank fusion, as in the paper.
RRF = 60


def combine(scores: Float32, query: Int32, key: UInt64, how: str) -> Float32:
    """float32[n]: one score a candidate; NaN where any teacher's is not finite.

    "mean" is the mean of the raw scores (Hofstätter et al. 2020, section 3.2: an ensemble of
    teachers). "rrf" is reciprocal rank fusion, the sum of 1 / (60 + rank) over the teachers
    (Cormack, Clarke and Büttcher, SIGIR 2009), for teachers on different scales; a candidate that
    one of them could not score takes no part in any ranking.

    Args:
        scores: float32[n, teachers].
        query: int32[n], ascending.
        key: uint64[n], breaks ties.
        how: "mean" or "rrf".
    """
    finite = np.isfinite(scores).all(axis=1)
    combined = np.full(len(scores), np.nan, dtype=np.float32)
    kept = scores[finite]
    if scores.shape[1] == 1:
        combined[finite] = kept[:, 0]
    elif how == "mean":
        combined[finite] = kept.astype(np.float64).mean(axis=1)
    else:
        combined[finite] = _fused(kept, query[finite], key[finite])
    return combined


def _fused(scores: Float32, query: Int32, key: UInt64) -> npt.NDArray[np.float64]:
    total = np.zeros(len(scores))
    for column in scores.T:
        total += 1.0 / (RRF + rank_within(query, column, key))
    return total
