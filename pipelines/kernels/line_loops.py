"""Where lines end, as machine code."""

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import lowest
from shardrank.kernels.memory import (
    BEHIND,
    address,
    bytes_that_are,
    count_bits,
    high_bytes,
)


@compiled
def count_ends(data: npt.NDArray[np.uint8], size: int) -> int:
    r"""How many \n there are in uint8[...], whose first `size` bytes count; BEHIND more follow."""
    base, count = address(data), 0
    whole = size // BEHIND * BEHIND
    for at in range(0, whole, BEHIND):
        count += count_bits(bytes_that_are(base + at, 0x0A))
    for at in range(whole, size):
        count += data[at] == 0x0A
    return count


@compiled
def are_ascii(data: npt.NDArray[np.uint8]) -> bool:
    """Whether all of uint8[...] are under 128."""
    base, whole = address(data), len(data) // BEHIND * BEHIND
    high = np.uint64(0)
    for at in range(0, whole, BEHIND):
        high |= high_bytes(base + at)
    for at in range(whole, len(data)):
        high |= np.uint64(data[at] >> 7)
    good: bool = high == 0
    return good


@compiled
def find_lines(data: npt.NDArray[np.uint8], size: int, begins: Int64, ends: Int64) -> int:
    r"""Fill where each line begins, and where it ends without its \n; how many there are.

    Args:
        data: uint8[...], of which `size` bytes are lines; BEHIND more follow.
        begins, ends: int64[...], for a line more than there are \n.
    """
    base, count, begin = address(data), 0, 0
    for at in range(0, size, BEHIND):
        found = bytes_that_are(base + at, 0x0A)
        while found:
            end = at + lowest(found)
            if end >= size:
                break
            begins[count], ends[count] = begin, end
            count, begin = count + 1, end + 1
            found &= found - np.uint64(1)
    if begin < size:
        begins[count], ends[count] = begin, size
        count += 1
    return count
