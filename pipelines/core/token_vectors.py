"""A vector for each token of a text, as late interaction compares them (Khattab & Zaharia 2020,
ColBERT, arXiv:2004.12832)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.errors import IntegrityError


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """The token vectors of n texts, text behind text.

    Attributes:
        ends: int64[n + 1], where each text's vectors begin; the last is where all end. A text may
            have none.
        vectors: float32[t, d].
    """

    ends: Int64
    vectors: Float32

    @property
    def rows(self) -> int:
        """How many texts there are."""
        return len(self.ends) - 1

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray) -> "TokenVectors":
        """From a column List<FixedSizeList<fp16 or fp32>[d]>; see
        `shardrank.kernels.residual_codes.token_vectors` for one of codes.

        Raises:
            IntegrityError: the column is of another type, or a value of it is null.
        """
        array = one_array(column)
        if not pa.types.is_list(array.type) or not pa.types.is_fixed_size_list(
            array.type.value_type
        ):
            raise IntegrityError(
                f"A column of type {array.type} holds no token vectors.",
                "Its file was not written by shardrank: index again.",
            )
        width, ends = array.type.value_type.list_size, row_ends(array)
        flat = array.flatten().flatten().to_numpy()
        return cls(ends, np.ascontiguousarray(flat.reshape(-1, width), np.float32))

    def text(self, row: int) -> Float32:
        """float32[tokens, d], of one text."""
        return self.vectors[self.ends[row] : self.ends[row + 1]]

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Int64) -> "TokenVectors":
        """Those of some texts, int64[m]."""
        sizes = (self.ends[1:] - self.ends[:-1])[rows]
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        tokens = np.arange(ends[-1]) + np.repeat(self.ends[rows] - ends[:-1], sizes)
        return TokenVectors(ends, self.vectors[tokens])

    def of_rows(self, begin: int, end: int) -> "TokenVectors":
        """Those of texts `begin` to `end`, not copied."""
        ends = self.ends[begin : end + 1]
        return TokenVectors(ends - ends[0], self.vectors[ends[0] : ends[-1]])

    def array(self, kind: pa.DataType) -> pa.ListArray:
        """List<FixedSizeList<kind>[d]>, of which `of` makes the same, but for the type's
        rounding."""
        return vector_lists(self.ends, self.vectors.astype(kind.to_pandas_dtype()))


def vector_lists(
    ends: Int64, vectors: npt.NDArray[np.floating], broken: Bool | None = None
) -> pa.ListArray:
    """List<FixedSizeList[d]> of vectors[t, d] in their own type.

    Args:
        ends: int64[n + 1], where each text's vectors begin.
        vectors: of all texts.
        broken: bool[n], texts that have no vectors that can be stored: null.
    """
    flat = pa.array(vectors.ravel())
    return lists(ends, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]), broken)


def lists(ends: Int64, values: pa.Array, broken: Bool | None = None) -> pa.ListArray:
    """List of any values; as `vector_lists`."""
    offsets = pa.array(ends.astype(np.int32))
    mask = None if broken is None or not broken.any() else pa.array(broken)
    kind = pa.list_(values.type)
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=mask)


def emptied(array: pa.ListArray, rows: Bool) -> pa.ListArray:
    """A column of lists, of which those among `rows`, bool[n], that are null hold nothing."""
    null = array.is_null().to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return lists(ends, array.flatten(), null & ~rows)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column's chunks in one."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def row_ends(array: pa.ListArray) -> Int64:
    """int64[n + 1]: where each row's values begin among those of `array.flatten()`.

    Raises:
        IntegrityError: a row is null.
    """
    absent = array.null_count or array.flatten().null_count
    if absent:
        raise IntegrityError(
            f"A column of token vectors has {absent:,} rows or tokens without a value.",
            "Its file was not written by shardrank: index again.",
        )
    offsets = array.offsets.to_numpy()
    ends: Int64 = (offsets - offsets[0]).astype(np.int64)
    return ends


#: Where a field of bytes says of which type the vectors are that they hold.
_VECTORS = b"shardrank.vectors"


def packed_lists(table: pa.Table) -> pa.Table:
    """The table with token vectors, List<FixedSizeList<fp16 or fp32>[d]>, as lists of their
    bytes."""
    for place, field in enumerate(table.schema):
        if _is_vectors(field.type):
            chunks = [_bytes(chunk) for chunk in table[place].chunks]
            column = pa.chunked_array(chunks, _packed(field))
            told = {_VECTORS: str(field.type.value_type.value_type).encode()}
            same = pa.field(field.name, _packed(field), field.nullable, told)
            table = table.set_column(place, same, column)
    return table


def unpacked_lists(table: pa.Table) -> pa.Table:
    """The way back."""
    for place, field in enumerate(table.schema):
        kind = _KINDS.get((field.metadata or {}).get(_VECTORS, b""))
        if kind is not None:
            width = field.type.value_type.byte_width // (kind.bit_width // 8)
            whole = pa.list_(pa.list_(kind, width))
            column = [_vectors(chunk, kind, width) for chunk in table[place].chunks]
            same = pa.field(field.name, whole, field.nullable)
            table = table.set_column(place, same, pa.chunked_array(column, whole))
    return table


_KINDS = {str(kind).encode(): kind for kind in (pa.float16(), pa.float32())}


def _is_vectors(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind)
        and pa.types.is_fixed_size_list(kind.value_type)
        and kind.value_type.value_type in (pa.float16(), pa.float32())
    )


def _packed(field: pa.Field) -> pa.DataType:
    inner = field.type.value_type
    return pa.list_(pa.binary(inner.list_size * inner.value_type.bit_width // 8))


def _bytes(array: pa.ListArray) -> pa.ListArray:
    row_ends(array)  # refuses rows and tokens without a value, which bytes could not tell
    inner = array.type.value_type
    width = inner.list_size * inner.value_type.bit_width // 8
    flat = array.values.flatten().to_numpy()
    held = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(array.values), [None, pa.py_buffer(flat)]
    )
    return pa.ListArray.from_arrays(array.offsets, held, type=pa.list_(held.type))


def _vectors(array: pa.ListArray, kind: pa.DataType, width: int) -> pa.ListArray:
    tokens = array.values
    held = np.frombuffer(tokens.buffers()[1] or b"", kind.to_pandas_dtype())
    flat = held[tokens.offset * width : (tokens.offset + len(tokens)) * width]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), width)
    return pa.ListArray.from_arrays(array.offsets, vectors, type=pa.list_(vectors.type))
