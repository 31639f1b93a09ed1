"""Candidates written as rows of a table."""

from typing import Any

import numpy as np

from pipelines.index.documents import Found


def found(positions: Any) -> Found:
    """Those of int64[Q, depth]; -1 is none."""
    ends = np.append(0, np.cumsum((positions >= 0).sum(axis=1)))
    return Found(positions[positions >= 0].astype(np.int32), ends)
