"""bf16 as machine code sees it, which has no such type: the upper half of a float32's bits."""

import numpy as np

from shardrank.core.arrays import Int32, UInt16
from shardrank.kernels.compiled import compiled


@compiled
def widen(x: UInt16, out: Int32) -> None:
    """bf16 to float32, both as their bits."""
    for i in range(len(x)):
        out[i] = np.int32(x[i]) << np.int32(16)


@compiled
def narrow(bits: Int32, out: UInt16) -> None:
    """float32 to the nearest bf16, or the even one of two, both as their bits."""
    for i in range(len(out)):
        odd = (bits[i] >> np.int32(16)) & np.int32(1)
        out[i] = np.uint16((bits[i] + np.int32(0x7FFF) + odd) >> np.int32(16))
