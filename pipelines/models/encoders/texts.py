"""Models over texts: for columns beside the first, whose tokens no part holds."""

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import vector_column
from shardrank.core.model_settings import Stored
from shardrank.models.encoders.dense import BiEncoder
from shardrank.models.encoders.sparse import SparseEncoder


class TextVectors:
    """Texts → vectors as they are stored (protocol: ColumnEncoder)."""

    def __init__(self, encoder: BiEncoder, stored: Stored) -> None:
        self._encoder = encoder
        self._kind = np.float16 if stored == "fp16" else np.float32

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16 or fp32>[dim], a row a text, with the model's document prompt."""
        vectors = self._encoder.encode_documents(read.to_pylist())
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: whoever asked refuses it
            return vector_column(vectors.astype(self._kind))

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[dim], with the model's query prompt."""
        return vector_column(self._encoder.encode_queries(read.to_pylist()))


class TextTerms:
    """Texts → weighted terms of a vocabulary (protocol: ColumnEncoder)."""

    def __init__(self, encoder: SparseEncoder) -> None:
        self._encoder = encoder

    def column(self, read: pa.Array) -> pa.Array:
        """List<Struct<term: uint32, weight: fp16>>, a row a text."""
        with np.errstate(over="ignore"):  # infinite: whoever asked refuses it
            terms = self._encoder.encode_documents(read.to_pylist())
            return terms.array(pa.uint32(), pa.float16())

    def queries(self, read: pa.Array) -> pa.Array:
        """List<Struct<term: uint32, weight: fp32>>, a row a text."""
        return self._encoder.encode_queries(read.to_pylist()).array(pa.uint32(), pa.float32())
