"""Keys in the order of their ids' hashes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int64


def by_hash(keys: pa.Table, then: Sequence[str]) -> pa.Table:
    """The table sorted by id_hash, and rows of one hash by the columns named."""
    return keys.take(pa.array(hash_order(keys, then)))


def hash_order(keys: pa.Table, then: Sequence[str]) -> Int64:
    """int64[n]: the rows in that order.

    Numbers are sorted much faster than texts; those are looked at only where numbers tie.
    """
    hashes = keys["id_hash"].to_numpy()
    order = np.argsort(hashes)
    rising = hashes[order]
    same = rising[1:] == rising[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    rows = order[tied]
    ascending = [(name, "ascending") for name in ("id_hash", *then)]
    inner = pc.sort_indices(keys.take(pa.array(rows)), sort_keys=ascending)
    order[tied] = rows[inner.to_numpy()]
    return order
