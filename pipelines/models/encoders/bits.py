"""Columns of binary codes, made of a dense column."""

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import matrix, refuse_not_finite, vector_column
from shardrank.core.bit_codes import BitsCodec, packed
from shardrank.kernels.rotation_loops import centred


class BitEncoder:
    """Codes of vectors, by what was fitted (protocol: ColumnEncoder)."""

    def __init__(self, name: str, codec: BitsCodec) -> None:
        self._name, self._codec = name, codec

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeBinary[bytes] of FixedSizeList<fp16 or fp32>[dim].

        Raises:
            InputError: a vector is not finite.
        """
        refuse_not_finite(read, f"What the encoder {self._name!r} reads", "passages of a part")
        codec = self._codec
        values = centred(matrix(pa.chunked_array([read])), codec.mean, codec.axes)
        codes = np.ascontiguousarray(packed(values, codec))
        kind = pa.binary(codec.code_bytes)
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, pa.py_buffer(codes)])

    def queries(self, read: pa.Array) -> pa.Array:
        """The queries' vectors, FixedSizeList<fp32>[dim], as they are: they refine what is found,
        and whoever searches makes their codes."""
        return vector_column(matrix(pa.chunked_array([read])))
