"""The card of an encoder of enriched queries, read without loading it: as `cards.py`."""

from shardrank.core.cards import RerankerCard
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import EnrichedSettings
from shardrank.models.cards import own_or_set, read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.layout import Layout
from shardrank.models.text.chat import chat_template
from shardrank.models.text.prompts import parse_prompt, read_prompt

#: How such a prompt asks.
METHODS = frozenset({"enriched_query"})


def encoder_of(settings: EnrichedSettings) -> EncoderSettings:
    """The encoder that a reranker's settings name; vectors are normalised, for cosines."""
    return EncoderSettings(
        model=settings.model,
        revision=settings.revision,
        pooling=settings.pooling,
        normalise=True,
        max_tokens=settings.max_tokens,
        dtype=settings.dtype,
        trust_remote_code=settings.trust_remote_code,
        batch_tokens=settings.batch_tokens,
    )


def read_enriched(settings: EnrichedSettings, halve: bool) -> RerankerCard:
    """The card of the reranker that the settings name.

    `halve` says that dtype = "auto" may mean bf16.

    Raises:
        InputError: there is no such encoder, or its files say something that is not understood.
        SettingsError: the prompt cannot be read, or a setting asks for more than there is.
    """
    check_encoder(encoder_of(settings))
    return enriched_card(settings, read_prompt(settings.prompt), halve)


def enriched_card(settings: EnrichedSettings, prompt: str, halve: bool = False) -> RerankerCard:
    """The same with a prompt that was read before."""
    parse_prompt(prompt, METHODS)
    encoder = read_encoder_card(encoder_of(settings), halve, renders=True)
    listed = settings.passages, settings.passage_tokens
    deciding = [encoder.fingerprint, prompt, _template(settings), *listed]
    return RerankerCard(
        name=settings.model,
        fingerprint=fingerprint(["enriched-1", *deciding]),
        weights_sha256=encoder.weights_sha256,
        tokeniser_fingerprint=encoder.tokeniser_fingerprint,
        max_tokens=encoder.query_max_tokens,
        interpolation=float(own_or_set(settings.interpolation, 1.0)),
        prompt=prompt,
        dtype=encoder.dtype,
        family=settings.family,
        sees="lists",
        alone=False,
    )


def _template(settings: EnrichedSettings) -> str | None:
    source = read_encoder_folder(encoder_of(settings)).towers.queries.source
    return chat_template(source.transformer) if isinstance(source, Layout) else None
