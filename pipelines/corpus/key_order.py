"""Keys in the order of their ids' hashes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int64
from shardrank.core.arrow_columns import text_bounds
from shardrank.kernels.memory import BEHIND
from shardrank.kernels.row_loops import take_texts

_MOST_BYTES = np.iinfo(np.int32).max


def by_hash(keys: pa.Table, then: Sequence[str]) -> pa.Table:
    """The table sorted by id_hash, and rows of one hash by the columns named."""
    order = hash_order(keys, then)
    columns = [_taken(keys[name], order) for name in keys.column_names]
    return pa.Table.from_arrays(columns, schema=keys.schema)


def hash_order(keys: pa.Table, then: Sequence[str]) -> Int64:
    """int64[n]: the rows in that order.

    Numbers are sorted much faster than texts; those are looked at only where numbers tie.
    """
    hashes = keys["id_hash"].to_numpy()
    sorted_before = bool((hashes[1:] >= hashes[:-1]).all())
    order = np.arange(len(hashes)) if sorted_before else np.argsort(hashes)
    rising = hashes if sorted_before else hashes[order]
    same = rising[1:] == rising[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    if not len(tied):
        return order
    rows = order[tied]
    ascending = [(name, "ascending") for name in ("id_hash", *then)]
    inner = pc.sort_indices(keys.take(pa.array(rows)), sort_keys=ascending)
    order[tied] = rows[inner.to_numpy()]
    return order


def _taken(column: pa.ChunkedArray, order: Int64) -> pa.Array | pa.ChunkedArray:
    """The rows of a column in that order; its chunks are not put together before."""
    if column.type != pa.string():
        return pa.array(column.to_numpy()[order], column.type)
    places = [_addresses(chunk) for chunk in column.chunks]
    size = sum(int(ends[-1] - begins[0]) for begins, ends in places if len(ends))
    if size > _MOST_BYTES:
        return column.take(pa.array(order))
    bounds, data = np.zeros(len(order) + 1, np.int32), np.empty(size + BEHIND, np.uint8)
    if size:
        begins, ends = (np.concatenate(each) for each in zip(*places, strict=True))
        take_texts(begins, ends, order, bounds, data)
    return pa.StringArray.from_buffers(len(order), pa.py_buffer(bounds), pa.py_buffer(data))


def _addresses(texts: pa.StringArray) -> tuple[Int64, Int64]:
    data, bounds = text_bounds(texts)
    places = bounds + np.int64(data.ctypes.data)
    return places[:-1], places[1:]
