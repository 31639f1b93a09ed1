"""Several vectors of a passage: its own, and one of each text that was written about it, so that it
is as near to a query as the nearest of them (Zhang et al. 2022, Multi-View Document Representation
Learning, arXiv:2203.08372; Li et al. 2022, arXiv:2208.04232, with generated queries)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.cards import LateCard
from shardrank.core.token_vectors import TokenVectors, vector_lists
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written import Beside
from shardrank.models.cards import check_fingerprint, settled
from shardrank.models.encoders.averaged import query_vectors, sizes
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.encoders.views_cards import bi_encoder


class Views:
    """Passages and what was written about them → vectors of each (protocol: ColumnEncoder)."""

    def __init__(self, encoder: BiEncoder) -> None:
        self._encoder = encoder

    def column(self, read: pa.Array) -> pa.Array:
        """List<FixedSizeList<fp16>[dim]>, a row a passage: its own vector, then those of the texts,
        as queries; null where one is not finite. Reads what `shardrank.core.written.beside`
        makes."""
        given = Beside.of(read)
        own, counts = self._encoder.encode_documents(given.texts), sizes(given)
        ends = np.concatenate([[0], np.cumsum(counts + 1, dtype=np.int64)])
        flat = _interleaved(own, query_vectors(self._encoder, given), ends)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: whoever asked refuses it
            stored = flat.astype(np.float16)
        return vector_lists(ends, stored, _broken(stored, ends))

    def queries(self, read: pa.Array) -> pa.Array:
        """List<FixedSizeList<fp32>[dim]>, one vector a query."""
        vectors = self._encoder.encode_queries(read.to_pylist())
        return TokenVectors(np.arange(len(vectors) + 1), vectors).array(pa.float32())


def load_views(settings: ViewsSettings, device: str, planned: LateCard) -> Views:
    """What makes the column; raises as `load_encoder`."""
    encoder = load_encoder(bi_encoder(settled(settings, planned)), device)
    own = planned.beside.own if planned.beside else planned.fingerprint
    check_fingerprint(settings.model, own, encoder.card.fingerprint)
    return Views(encoder)


def _interleaved(own: Float32, written: Float32, ends: Int64) -> Float32:
    """float32[t, d]: each passage's own vector before those of its texts."""
    first = np.zeros(ends[-1], np.bool_)
    first[ends[:-1]] = True
    flat = np.empty((ends[-1], own.shape[1]), np.float32)
    flat[first], flat[~first] = own, written
    return flat


def _broken(vectors: npt.NDArray[np.floating], ends: Int64) -> npt.NDArray[np.bool_]:
    """bool[n]: whether a number of a passage's vectors is not finite; each has one at least."""
    wrong = np.concatenate([[0], np.cumsum(~np.isfinite(vectors).all(axis=1))])
    found: npt.NDArray[np.bool_] = wrong[ends[1:]] > wrong[ends[:-1]]
    return found
