"""Vectors of documents: the mean of their passages' vectors, by equal weights or by tokens (Unified
Multi-Modal Interleaved Document Representation, arXiv:2410.02729, which takes the plain mean)."""

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float64, Int64
from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.cards import DocumentCard
from shardrank.core.of_documents import OfDocuments


class DocumentMeans:
    """Makes a column of another (protocol: ColumnEncoder)."""

    def __init__(self, card: DocumentCard) -> None:
        self._card = card

    def column(self, read: pa.Array) -> pa.Array:
        """Of values as `OfDocuments` has them, and in their type: of each passage the vector of its
        document, 0 where that of all its passages is."""
        given = OfDocuments.of(read)
        vectors = matrix(pa.chunked_array([given.values])).astype(np.float64)
        equal = self._card.weights == "equal"
        # A picture without text counts as a passage of one token.
        counts = np.ones_like(given.tokens) if equal else np.maximum(given.tokens, 1)
        weights = counts[:, None]
        ends = np.append(given.starts, len(vectors))
        with np.errstate(invalid="ignore"):  # of deleted documents, whose vectors may be broken
            sums = _sums(vectors * weights, ends)
            unit = np.linalg.norm(sums, axis=1, keepdims=True)
            parts = unit if self._card.unit else _sums(weights.astype(np.float64), ends)
            means = sums / np.where(parts == 0, 1, parts)
        kind = given.values.type.value_type.to_pandas_dtype()
        return vector_column(np.repeat(means.astype(kind), np.diff(ends), axis=0))

    def queries(self, read: pa.Array) -> pa.Array:
        """As they are: they are compared with documents as with passages."""
        return read


def _sums(rows: Float64, ends: Int64) -> Float64:
    """float64[n, d]: of the rows from each end to the next, added up one after the other, so that
    a document's depends on nothing else."""
    sizes = np.diff(ends)
    found = np.zeros((len(sizes), rows.shape[1]))
    for place in range(int(sizes.max(initial=0))):
        has = np.flatnonzero(sizes > place)
        found[has] += rows[ends[has] + place]
    return found
