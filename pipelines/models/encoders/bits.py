"""Columns of binary codes, made of a dense column."""

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import matrix, refuse_not_finite, vector_column
from shardrank.core.bit_codes import BitsCodec, packed
from shardrank.core.cards import BitsCard
from shardrank.core.errors import IntegrityError
from shardrank.core.protocols import Codecs
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


def load_bits(card: BitsCard, codecs: Codecs) -> BitEncoder:
    """The encoder, by what was fitted.

    Raises:
        IntegrityError: nothing was, or for other vectors than the card's.
    """
    if codecs.own is None:
        raise IntegrityError(
            f"The version holds no codec of the column {card.name!r}.", "Index again."
        )
    codec = BitsCodec.of(codecs.own)
    if (codec.dim, codec.bits) != (card.dim, card.bits):
        raise IntegrityError(
            f"The codec of the column {card.name!r} makes {codec.bits} bits of {codec.dim} "
            f"components, where its encoder says {card.bits} of {card.dim}.",
            "Its files do not belong together: index again.",
        )
    return BitEncoder(card.name, codec)
