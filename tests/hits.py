"""Hits written as rows of a table."""

from typing import Any

import numpy as np

from shardrank.index.documents import ShardHits


def hits(positions: Any) -> ShardHits:
    """Those of int64[Q, depth]; -1 is none."""
    ends = np.append(0, np.cumsum((positions >= 0).sum(axis=1)))
    return ShardHits(positions[positions >= 0].astype(np.int32), ends)
