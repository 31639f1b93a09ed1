"""Language models as rerankers: what all their families share. A family says how it asks.

read    settings → card: the folder's files, the prompt, and all else that decides a score
load    card → a model with its tokeniser, chat template and prompt, given to the family's class
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardrank.core.cards import RerankerCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.protocols import ListReranker
from shardrank.core.reranker_settings import LanguageSettings
from shardrank.models.cards import check_fingerprint, code_sha256, own_or_set, settled
from shardrank.models.folder import limits
from shardrank.models.folder.decoder_folder import DecoderFolder, check_decoder, read_decoder_folder
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.headers import parameters, read_headers
from shardrank.models.folder.weights import find_weights
from shardrank.models.forward.causal import CausalModel
from shardrank.models.text.chat import Chat, chat_template
from shardrank.models.text.prompts import Prompt, parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser

#: Fields of the settings that decide no score, or that a card has under another name.
_ELSEWHERE = ("model", "revision", "depth", "interpolation", "prompt", "dtype", "max_tokens")


@dataclass(frozen=True)
class Language:
    """A language model that is ready to be asked.

    Attributes:
        limit: tokens of a prompt and its answer, at most.
        ends: tokens that end an answer.
    """

    model: CausalModel
    tokeniser: FastTokeniser
    chat: Chat
    prompt: Prompt
    limit: int
    ends: frozenset[int]

    def token(self, text: str) -> int:
        """The id of a text that is one token.

        Raises:
            SettingsError: it is several, or none: the model would never give it as one.
        """
        ids = self.tokeniser.encode([text])[0].ids
        if len(ids) != 1:
            raise SettingsError(
                f"The answer {text!r} is {len(ids)} tokens of this model, and must be one.",
                "Name a prompt whose answers are one token each, such as letters.",
            )
        return int(ids[0])


@dataclass(frozen=True)
class LanguageFamily:
    """How a family asks.

    Attributes:
        make: settings and a model → the reranker.
        methods: of prompts that it understands.
        prompt: the name of the one that it asks by where neither settings nor folder name one.
        alone: whether a passage's score depends on no other passage.
    """

    make: Callable[[Any, Language], ListReranker]
    methods: frozenset[str]
    prompt: str
    alone: bool

    def read(self, settings: Any, halve: bool) -> RerankerCard:
        """The card of the model that the settings name.

        Raises:
            InputError: there is no such model, or its files say something that is not understood.
            SettingsError: the prompt cannot be read, or a setting asks for more than there is.
        """
        check_decoder(settings)
        return self._card(settings, read_prompt(settings.prompt or self.prompt), halve)

    def load(self, settings: Any, device: str, card: RerankerCard) -> ListReranker:
        """The reranker that was planned as `card`, whose prompt it holds.

        Raises:
            IntegrityError: the model here is another one.
        """
        from shardrank.models.forward.decoder import load_decoder  # brings torch: a second

        own = settled(settings, card)
        found = self._card(own, card.prompt, halve=False)
        check_fingerprint(settings.model, card.fingerprint, found.fingerprint)
        folder = read_decoder_folder(settings)
        tokeniser = load_tokeniser(folder.layout)
        language = Language(
            model=load_decoder(folder, own, device),
            tokeniser=tokeniser,
            chat=Chat(folder.layout.transformer, tokeniser),
            prompt=parse_prompt(card.prompt, self.methods),
            limit=card.max_tokens,
            ends=folder.ends,
        )
        return self.make(settings, language)

    def _card(self, settings: LanguageSettings, prompt: str, halve: bool) -> RerankerCard:
        parse_prompt(prompt, self.methods)
        folder = read_decoder_folder(settings)
        layout = folder.layout
        deciding: dict[str, Any] = {
            "weights_sha256": weights_sha256(*find_weights(layout.transformer).files),
            "tokeniser_fingerprint": load_tokeniser(layout).fingerprint,
            "max_tokens": limits.max_tokens(layout, settings.max_tokens, "reranker"),
            "prompt": prompt,
            "dtype": limits.dtype([layout.config], settings.dtype, halve),
            "family": settings.family,
        }
        own = settings.deciding()
        hidden = {
            "config": limits.deciding_config(layout.config),
            "code": code_sha256(layout.transformer, settings.trust_remote_code),
            "template": chat_template(layout.transformer),
            "ends": sorted(folder.ends),
            "settings": {name: own[name] for name in sorted(own.keys() - set(_ELSEWHERE))},
        }
        return RerankerCard(
            name=settings.model,
            fingerprint=fingerprint(["language-reranker-1", deciding, hidden]),
            interpolation=float(own_or_set(settings.interpolation, 1.0)),
            sees="lists",
            alone=self.alone,
            **deciding,
        )


def language_notes(settings: LanguageSettings) -> list[str]:
    """Of the folder that the settings name, for people; raises as its card does."""
    folder: DecoderFolder = read_decoder_folder(settings)
    return list(folder.notes)


def language_parameters(settings: LanguageSettings) -> int:
    """The parameters that each token of an input is multiplied with."""
    layout = read_decoder_folder(settings).layout
    return parameters(read_headers(find_weights(layout.transformer).files))
