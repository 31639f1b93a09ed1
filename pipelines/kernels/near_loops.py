"""The softmax of attention to near tokens, as machine code; see `near_attention.py`."""

import numpy as np

from shardrank.core.arrays import Int64, UInt16
from shardrank.kernels.attention_loops import most, powers, shift, total
from shardrank.kernels.bf16 import narrow, widen
from shardrank.kernels.compiled import compiled


@compiled
def softmax_near(
    x: UInt16, asked: Int64, seen: Int64, places: Int64, reach: int, scale: float
) -> None:
    """Each row becomes softmax(row · scale) of the tokens within its reach, and 0 elsewhere; as
    `shardrank.kernels.attention_loops.softmax_rows`, which see for the errors.

    Args:
        x: the bits of bf16[n, heads, q, k], contiguous; overwritten.
        asked: int64[n], how many of the q rows there are; the others are left as they are.
        seen: int64[n], how many of the k tokens there are.
        places: int64[n], which of them the first row's own token is.
        reach: how far a row's own token sees to either side.
        scale: positive.
    """
    row = np.empty(x.shape[3], np.float32)
    bits = row.view(np.int32)
    factor = np.float32(scale * 1.4426950408889634)  # e^x = 2^(x / ln 2)
    for piece in range(len(x)):
        for head in range(x.shape[1]):
            for query in range(asked[piece]):
                place = places[piece] + query
                first, last = max(0, place - reach), min(seen[piece], place + reach + 1)
                mine, near = x[piece, head, query], row[first:last]
                near_bits = bits[first:last]
                widen(mine[first:last], near_bits)
                shift(near, factor, np.int32(most(near_bits)).view(np.float32) * factor)
                powers(near)
                shift(near, np.float32(1) / total(near), np.float32(0))
                mine[:first] = 0
                narrow(near_bits, mine[first:last])
                mine[last:] = 0
