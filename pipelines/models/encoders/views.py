"""Several vectors of a passage: its own, and one of each text that was written about it, so that it
is as near to a query as the nearest of them (Zhang et al. 2022, Multi-View Document Representation
Learning, arXiv:2203.08372, equation 3; Li et al. 2022, arXiv:2208.04232, with generated queries).
Imports no torch before an encoder is loaded."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.cards import ColumnCard, EncoderCard, LateCard
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.token_vectors import TokenVectors, vector_lists
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written import Beside
from shardrank.models.cards import check_fingerprint, read_encoder_card, settled
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.beside_cards import beside_again, beside_written
from shardrank.models.encoders.dense import BiEncoder, load_encoder
from shardrank.models.encoders.expanded import query_vectors, sizes
from shardrank.models.encoders.texts import document_vectors


def bi_encoder(settings: ViewsSettings) -> EncoderSettings:
    """Those of the bi-encoder alone, as an [[encoder]] of family dense has them."""
    same = [name for name in EncoderSettings.model_fields if name in ViewsSettings.model_fields]
    values = {name: getattr(settings, name) for name in same if name not in ("family", "of")}
    return EncoderSettings.model_validate(values)


def read_views_card(
    settings: ViewsSettings, source: ColumnCard | None, halve: bool = False
) -> LateCard:
    """The card of the vectors that the settings ask for; `halve` says that dtype = "auto" may mean
    bf16.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: a setting asks for more than the model has, or the column that is read holds
            no written texts.
    """
    return beside_written(_own_card(settings, halve), settings, source)


def read_views_again(settings: ViewsSettings, made: ColumnCard) -> LateCard:
    """As `read_views_card`, of an encoder that made a version's column."""
    return beside_again(_own_card(settings, halve=False), settings, made)


def _own_card(settings: ViewsSettings, halve: bool) -> LateCard:
    dense = bi_encoder(settings)
    check_encoder(dense)
    return _several(read_encoder_card(dense, halve))


def _several(card: EncoderCard) -> LateCard:
    """As that of a model of several vectors, which are stored whole."""
    return LateCard(
        name=card.name,
        fingerprint=card.fingerprint,
        weights_sha256=card.weights_sha256,
        tokeniser_fingerprint=card.tokeniser_fingerprint,
        dim=card.dim,
        max_tokens=card.max_tokens,
        query_max_tokens=card.query_max_tokens,
        query_prompt=card.query_prompt,
        document_prompt=card.document_prompt,
        dtype=card.dtype,
        pool=1.0,
        stored="fp16",
        normalised=card.normalise,
        family="views",
    )


class Views:
    """Passages and what was written about them → vectors of each (protocol: ColumnEncoder)."""

    def __init__(self, encoder: BiEncoder) -> None:
        self._encoder = encoder

    def column(self, read: pa.Array) -> pa.Array:
        """List<FixedSizeList<fp16>[dim]>, a row a passage: its own vector, then those of the texts,
        as queries; null where one is not finite. Reads what `shardrank.core.written.beside`
        makes."""
        given = Beside.of(read)
        own, counts = document_vectors(self._encoder, given.texts), sizes(given)
        ends = np.concatenate([[0], np.cumsum(counts + 1, dtype=np.int64)])
        flat = _interleaved(own, query_vectors(self._encoder, given), ends)
        with np.errstate(over="ignore"):  # infinite: whoever asked refuses it
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
