"""How far two contenders' answers lie apart."""

from typing import Any

import numpy as np

from shardrank.core.arrays import Float32


def worst_cosine(wanted: Float32, found: Float32) -> float:
    """1 less the least cosine between two matrices' rows."""
    return 1.0 - float(np.min(np.sum(_unit(wanted) * _unit(found), axis=1)))


def worst_logit(wanted: Float32, found: Float32) -> float:
    """The largest difference between two lists of logits."""
    return float(np.max(np.abs(wanted - found)))


def _unit(vectors: Float32) -> Any:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)
