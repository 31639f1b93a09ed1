"""Vectors of a bi-encoder that lie between a passage's own and those of what was written about it.

The weighted mean of Zhuang et al. 2023 (arXiv:2305.03950), whose sum over the queries is a mean
here, so that the weight does not depend on how many there are.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.arrow_columns import vector_column
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.written import Beside
from shardrank.models.encoders.dense import BiEncoder
from shardrank.models.encoders.texts import TextVectors


class AveragedVectors:
    """Passages and what was written about them → a vector of both (protocol: ColumnEncoder).

    Written texts go through the side of queries: they are what a query is compared with, and the
    queries that a passage answers are near to each other there, whatever prompts the sides have.
    """

    def __init__(self, encoder: BiEncoder, settings: EncoderSettings) -> None:
        self._encoder, self._weight = encoder, settings.written_weight
        self._plain = TextVectors(encoder, settings.stored)
        self._kind = np.float16 if settings.stored == "fp16" else np.float32

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16 or fp32>[dim]; reads what `shardrank.core.written.beside` makes."""
        given = Beside.of(read)
        own = self._encoder.encode_documents(given.texts)
        vectors = averaged(own, query_vectors(self._encoder, given), sizes(given), self._weight)
        if self._encoder.card.normalise:
            vectors = normalised(vectors)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: whoever asked refuses it
            return vector_column(vectors.astype(self._kind))

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[dim], with the model's query prompt."""
        return self._plain.queries(read)


def averaged(own: Float32, written: Float32, counts: Int64, weight: float) -> Float32:
    """float32[n, d]: (1 - weight) · a passage's own vector + weight · the mean of the texts'; its
    own where there are none. Added up in float64, in the order of the texts.

    Args:
        own: float32[n, d].
        written: float32[m, d], passage behind passage.
        counts: int64[n], the texts of each.
        weight: of the texts.
    """
    sums = np.zeros(own.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # not finite: whoever asked refuses it
        np.add.at(sums, np.repeat(np.arange(len(own)), counts), written)
        means = sums / np.maximum(counts, 1)[:, None]
        mixed = ((1 - weight) * own + weight * means).astype(np.float32)
    found: Float32 = np.where((counts > 0)[:, None], mixed, own)
    return found


def normalised(vectors: Float32) -> Float32:
    """Each divided by its L2 norm; zeros stay."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    with np.errstate(invalid="ignore"):  # as above
        found: Float32 = (wide / np.where(norms > 0, norms, 1)).astype(np.float32)
    return found


def query_vectors(encoder: BiEncoder, read: Beside) -> Float32:
    """float32[m, d] of all written texts, passage behind passage, as the encoder has queries."""
    texts: Sequence[str] = list(chain.from_iterable(read.written))
    if not texts:
        return np.empty((0, encoder.dim), np.float32)
    return encoder.encode_queries(texts)


def sizes(read: Beside) -> Int64:
    """int64[n]: how many texts were written about each passage."""
    return np.fromiter(map(len, read.written), np.int64, len(read.written))
