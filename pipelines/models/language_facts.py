"""What decides the results of a causal language model, whatever it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardrank.core.reranker_settings import LanguageSettings
from shardrank.core.writer_settings import WriterSettings
from shardrank.models.cards import code_sha256
from shardrank.models.folder import limits
from shardrank.models.folder.decoder_folder import answer_ends, decoder_dtype
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.chat import chat_template
from shardrank.models.text.tokens import load_tokeniser


@dataclass(frozen=True)
class LanguageFacts:
    """Facts of a model.

    Attributes:
        shown: those that a card has as fields.
        hidden: the others, as JSON.
    """

    shown: Mapping[str, Any]
    hidden: Mapping[str, Any]


def language_facts(
    layout: Layout, settings: LanguageSettings | WriterSettings, table: str, halve: bool
) -> LanguageFacts:
    """Of the model of a folder, as the settings of a table have it run.

    Raises:
        SettingsError: a setting asks for more than the model has.
        InputError: its chat template is not understood.
    """
    return LanguageFacts(
        shown={
            "weights_sha256": weights_sha256(*find_weights(layout.transformer).files),
            "tokeniser_fingerprint": load_tokeniser(layout).fingerprint,
            "max_tokens": limits.max_tokens(layout, settings.max_tokens, table),
            "dtype": decoder_dtype(layout.config, settings.dtype, halve),
        },
        hidden={
            "config": limits.deciding_config(layout.config),
            "code": code_sha256(layout.transformer, settings.trust_remote_code),
            "template": chat_template(layout.transformer),
            "ends": sorted(answer_ends(layout)),
        },
    )
