"""The card of MaxSim over a stored column of token vectors (Khattab & Zaharia 2020, ColBERT,
arXiv:2004.12832): what runs is `index/maxsim.py`, and no model but the encoder of queries."""

from shardrank.core.cards import LateCard, ReadColumn, RerankerCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.reranker_settings import MaxsimSettings
from shardrank.models.cards import own_or_set
from shardrank.models.rerankers.beside import Beside
from shardrank.models.size import ModelSize


def read_maxsim(settings: MaxsimSettings, beside: Beside) -> RerankerCard:
    """The card of the reranker that the settings name, by the card and codec of its column.

    Raises:
        SettingsError: there is no such column, or it holds no token vectors.
    """
    card, codec = _column(settings, beside)
    return RerankerCard(
        name=f"maxsim of {settings.of}",
        fingerprint=fingerprint(["maxsim-2", card.fingerprint, codec, settings.query_pool]),
        weights_sha256=card.weights_sha256,
        tokeniser_fingerprint=card.tokeniser_fingerprint,
        max_tokens=card.max_tokens,
        interpolation=float(own_or_set(settings.interpolation, 1.0)),
        prompt="",
        dtype="fp32",
        family=settings.family,
        sees="columns",
        reads=ReadColumn(settings.of, card.dim),
    )


def _column(settings: MaxsimSettings, beside: Beside) -> tuple[LateCard, str]:
    """The card of the column that is named, and the sha256 of its codec."""
    column = beside.columns.get(settings.of)
    if column is not None and isinstance(column.card, LateCard):
        return column.card, column.codec
    lacks = "no such column" if column is None else f"a column of family {column.card.family}"
    late = (name for name, each in beside.columns.items() if isinstance(each.card, LateCard))
    held = ", ".join(late)
    raise SettingsError(
        f"[[reranker]] of family maxsim names {settings.of!r}, and the index has {lacks}.",
        f"Columns of token vectors: {held}."
        if held
        else "Give it token vectors: an [[encoder]] of family late, and index again.",
    )


def maxsim_size(settings: MaxsimSettings) -> ModelSize:
    """Of no model."""
    return ModelSize(0, 0)
