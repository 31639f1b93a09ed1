"""Arrow columns as numpy arrays, and back. Right for sliced, filtered and chunked columns."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError

#: Columns of strings, and what their offsets are.
TextBounds = npt.NDArray[np.int32] | Int64
TEXT_OFFSETS = {pa.string(): np.int32, pa.large_string(): np.int64}


def matrix(column: pa.ChunkedArray) -> Float32:
    """float32[n, dim] of a FixedSizeList column of fp16 or fp32."""
    width = column.type.list_size
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    flat = np.concatenate(chunks) if chunks else np.empty(0, np.float32)
    return np.ascontiguousarray(flat.reshape(-1, width), dtype=np.float32)


def vector_column(vectors: npt.NDArray[np.floating]) -> pa.FixedSizeListArray:
    """A FixedSizeList column of the array's own type, one row a vector."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def token_lists(column: pa.ChunkedArray) -> list[Int32]:
    """A list<uint> column as int32 arrays, one a row."""
    array = column.combine_chunks()
    values = array.values.to_numpy(zero_copy_only=False).astype(np.int32)
    return [values[start:end] for start, end in pairwise(array.offsets.to_numpy())]


def text_bounds(column: pa.Array) -> tuple[npt.NDArray[np.uint8], TextBounds]:
    """The bytes of a column of strings, at least one, and int[n + 1]: where in them each text
    begins, and where the last ends. A null is whatever bytes lie under it."""
    _, offsets, data = column.buffers()
    some = data is not None and data.size
    held = np.frombuffer(data, np.uint8) if some else np.zeros(1, np.uint8)
    if offsets is None or not len(column):
        return held, np.zeros(len(column) + 1, TEXT_OFFSETS[column.type])
    bounds = np.frombuffer(offsets, TEXT_OFFSETS[column.type])
    return held, bounds[column.offset : column.offset + len(column) + 1]


def refuse_not_finite(column: pa.Array, who: str, what: str) -> None:
    """Raise InputError where vectors, dense, sparse or of tokens, hold a number that is NaN or
    infinite, or a row of them is null, which stands for one that does. Texts hold none.

    Args:
        column: as `shardrank.core.schemas.column_schema` has it.
        who: made them, such as "The encoder 'm'".
        what: they are of, such as "passages of a part".
    """
    if column.null_count:
        raise InputError(
            f"{who} gives numbers that are NaN or infinite for {column.null_count:,} of "
            f"{len(column):,} {what}.",
            "Run it in fp32, or check its weights.",
        )
    if pa.types.is_fixed_size_binary(column.type):
        return  # codes, as below
    flat = column.flatten()
    if pa.types.is_string(flat.type):
        return  # texts
    if pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    if pa.types.is_fixed_size_binary(flat.type):
        return  # codes, which are of numbers that are finite
    numbers = flat.field("weight") if pa.types.is_struct(flat.type) else flat
    values = numbers.to_numpy(zero_copy_only=False)
    broken = len(values) - int(np.isfinite(values).sum())
    if broken:
        raise InputError(
            f"{who} gives {broken:,} of {len(values):,} numbers that are NaN or infinite, for "
            f"{len(column):,} {what}.",
            "Run it in fp32, store its vectors as fp32, or check its weights.",
        )
