"""Which rows of a part are live: a bitmap beside the part, since parts themselves never change.

The file holds one bit a row, the first row in the lowest bit of the first byte (numpy.packbits
with bitorder "little"); a bit that is set marks a deleted row.
"""

import numpy as np

from shardrank.core.arrays import Bool, Int64
from shardrank.core.errors import IntegrityError


def pack(deleted: Bool) -> bytes:
    """The bitmap of bool[n], which is true at deleted rows."""
    return np.packbits(deleted, bitorder="little").tobytes()


def unpack(data: bytes, rows: int) -> Bool:
    """bool[rows], true at deleted rows. Raises IntegrityError where the length does not fit."""
    if len(data) != -(-rows // 8):
        raise IntegrityError(
            f"A bitmap of {len(data)} bytes does not belong to a part of {rows} rows.",
            "Restore the index from a backup, or index the corpus again.",
        )
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=rows, bitorder="little")
    return bits.astype(np.bool_)


def mark(deleted: Bool, starts: Int64, counts: Int64) -> Bool:
    """A copy of `deleted` with the runs of rows [starts[i], starts[i] + counts[i]) set too."""
    edges = np.zeros(len(deleted) + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + counts, -1)
    return deleted | (np.cumsum(edges[:-1]) > 0)
