"""The card of an encoder of enriched queries, read without loading it: as `cards.py`."""

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.cards import RerankerCard
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import EnrichedSettings
from shardrank.models.cards import own_or_set, read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.layout import Layout
from shardrank.models.text.chat import chat_template
from shardrank.models.text.prompts import Prompt, parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser

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
    encoder = encoder_of(settings)
    check_encoder(encoder)
    prompt = read_prompt(settings.prompt)
    card = enriched_card(settings, prompt, halve)
    source = read_encoder_folder(encoder).towers.documents.source
    end_of_passages(load_tokeniser(source), parse_prompt(prompt, METHODS))
    return card


def enriched_card(settings: EnrichedSettings, prompt: str, halve: bool = False) -> RerankerCard:
    """The same with a prompt that was read before."""
    parse_prompt(prompt, METHODS)
    encoder = read_encoder_card(encoder_of(settings), halve, renders=True)
    listed = settings.passages, settings.passage_tokens
    template = chat_template(query_layout(settings).transformer)
    deciding = [encoder.fingerprint, prompt, template, *listed]
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


def query_layout(settings: EnrichedSettings) -> Layout:
    """The folder of the transformer that prompts go through. Raises InputError where there is
    none."""
    source = read_encoder_folder(encoder_of(settings)).towers.queries.source
    if isinstance(source, Layout):
        return source
    raise InputError(
        f"{source.folder} is a table of token vectors: a prompt would be a mean of its words.",
        "Name an encoder with a transformer.",
    )


def end_of_passages(tokeniser: FastTokeniser, prompt: Prompt) -> Int32:
    """int32[0 or 1]: the token that passages end in by the prompt, where the tokeniser does not
    put it behind a text by itself. Raises SettingsError where it is no single token."""
    if not prompt.end:
        return np.empty(0, np.int32)
    ids = tokeniser.encode([prompt.end])[0].ids
    if len(ids) != 1:
        raise SettingsError(
            f"The end of a passage, {prompt.end!r}, is {len(ids)} tokens of this model, and must "
            "be one.",
            "Name a prompt for this model, whose end is one of its tokens, or that has none.",
        )
    return ids[: int(ids[0] not in tokeniser.single_template().around[-1])]
