"""Texts in memory as columns of Arrow."""

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Int64
from shardrank.corpus.rows import Spans
from shardrank.kernels.memory import BEHIND
from shardrank.kernels.row_loops import move_texts


def gathered(spans: Spans, rows: Int64, kind: pa.DataType) -> pa.Array:
    """Some texts, by their numbers, as a column of strings or large strings."""
    begins, ends = spans.begins[rows], spans.ends[rows]
    bounds = np.append(0, np.cumsum(ends - begins))
    data = np.empty(int(bounds[-1]) + BEHIND, np.uint8)
    move_texts(begins, ends, data)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(rows), buffers).cast(kind)


def not_utf8(spans: Spans, odd: Bool) -> Bool:
    """bool[n]: those of the odd texts, bool[n], of which one or more are no UTF-8: all or none."""
    if odd.any():
        try:
            gathered(spans, np.flatnonzero(odd), pa.large_string()).validate(full=True)
        except pa.ArrowInvalid:
            return odd
    return np.zeros(len(odd), np.bool_)
