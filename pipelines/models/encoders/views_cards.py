"""What decides several vectors of a passage, known before any is made. Imports no torch."""

from shardrank.core.cards import ColumnCard, EncoderCard, LateCard
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.views_settings import ViewsSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.encoders.beside_cards import beside_again, beside_written


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


def read_views_again(settings: ViewsSettings, made: ColumnCard, halve: bool = False) -> LateCard:
    """As `read_views_card`, of an encoder that made a version's column."""
    return beside_again(_own_card(settings, halve), settings, made)


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
