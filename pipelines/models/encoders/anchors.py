"""A cross-encoder as an encoder: a passage's vector is its scores with anchor queries, a query's
the combination of these that its scores with anchor passages ask for (ANNCUR; see
`shardrank.models.encoders.anchor_codec`)."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.arrays import Float32, Int32
from shardrank.core.arrow_columns import vector_column
from shardrank.core.cards import AnchorCard
from shardrank.core.protocols import Reranker
from shardrank.models.cards import check_fingerprint
from shardrank.models.encoders.anchor_cards import cross_settings
from shardrank.models.encoders.anchor_codec import AnchorCodec
from shardrank.models.rerankers.cross import load_reranker

#: Pairs that are scored at once, about: the places of more take memory for nothing.
_PAIRS = 1 << 18


class AnchorScores:
    """Texts → a column of scores and queries' vectors (protocol: ColumnEncoder)."""

    def __init__(self, model: Reranker, codec: AnchorCodec, stored: str) -> None:
        self._model, self._codec = model, codec
        self._kind = np.float16 if stored == "fp16" else np.float32

    def column(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp16 or fp32>[q], a row a text: its scores with the anchor queries."""
        texts = read.to_pylist()
        distinct = list(dict.fromkeys(texts))
        scores = all_scores(self._model, self._codec.queries, distinct).T
        with np.errstate(over="ignore", invalid="ignore"):  # infinite: whoever asked refuses it
            return vector_column(scores[_places(texts, distinct)].astype(self._kind))

    def queries(self, read: pa.Array) -> pa.Array:
        """FixedSizeList<fp32>[q], whose inner products with the column are estimates of scores."""
        texts = read.to_pylist()
        distinct = list(dict.fromkeys(texts))
        scores = all_scores(self._model, distinct, self._codec.passages)
        return vector_column(self._codec.vectors(scores)[_places(texts, distinct)])


def load_anchors(
    settings: AnchorSettings, device: str, card: AnchorCard, codec: bytes | None
) -> AnchorScores:
    """The encoder that the settings name, with its anchors.

    Raises:
        InputError, SettingsError: as loading the cross-encoder.
        IntegrityError: the model here is another one, or there are no anchors.
    """
    return AnchorScores(load_cross(settings, device, card), AnchorCodec.of(codec), card.stored)


def load_cross(settings: AnchorSettings, device: str, card: AnchorCard) -> Reranker:
    """The cross-encoder as it was planned with; raises as `load_anchors`."""
    planned = settings.model_copy(update={"dtype": card.dtype})
    model = load_reranker(cross_settings(planned), device)
    check_fingerprint(settings.model, card.model, model.card.fingerprint)
    return model


def all_scores(model: Reranker, queries: Sequence[str], passages: Sequence[str]) -> Float32:
    """float32[q, p], the scores of all pairs."""
    asked = _tokens(model, [model.prompt + text for text in queries])
    read = _tokens(model, passages)
    step = max(1, _PAIRS // max(1, len(asked)))
    pieces = [_block(model, asked, read[at : at + step]) for at in range(0, len(read), step)]
    return np.concatenate(pieces, axis=1) if pieces else np.empty((len(asked), 0), np.float32)


def _block(model: Reranker, asked: Sequence[Int32], read: Sequence[Int32]) -> Float32:
    shape = (len(asked), len(read))
    left, right = np.indices(shape, np.int32).reshape(2, -1)
    if not len(left):
        return np.empty(shape, np.float32)
    return model.score(asked, read, left, right).logits.reshape(shape)


def _tokens(model: Reranker, texts: Sequence[str]) -> list[Int32]:
    return [spans.ids for spans in model.tokeniser.encode(texts)]


def _places(texts: Sequence[str], distinct: Sequence[str]) -> list[int]:
    place = {text: n for n, text in enumerate(distinct)}
    return [place[text] for text in texts]
