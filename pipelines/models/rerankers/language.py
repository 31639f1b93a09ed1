"""Language models as rerankers: what all their families share. A family says how it asks.

read    settings → card: the folder's files, the prompt, and all else that decides a score
load    card → a model with its tokeniser, chat template and prompt, given to the family's class
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.cards import RerankerCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.protocols import Decoder, ListReranker
from shardrank.core.reranker_settings import LanguageSettings
from shardrank.models.cards import check_fingerprint, own_or_set, settled
from shardrank.models.complete import check_decoder
from shardrank.models.language_facts import language_facts
from shardrank.models.rerankers.language_folder import (
    LanguageFolder,
    own_instruction,
    own_prompt,
    read_language_folder,
)
from shardrank.models.size import ModelSize, decoder_size
from shardrank.models.text.chat import Chat
from shardrank.models.text.prompts import Prompt, parse_prompt, read_prompt
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser

#: Fields of the settings that decide no score, or that a card has under another name.
_ELSEWHERE = ("model", "revision", "depth", "interpolation", "prompt", "dtype", "max_tokens")

#: Of a reranker that is made to see whether it can be, and is never asked.
_UNLOADED = cast(Decoder, None)


@dataclass(frozen=True)
class Language:
    """A language model that is ready to be asked.

    Attributes:
        limit: tokens of a prompt and its answer, at most.
        ends: tokens that end an answer.
        instruction: what the folder tells the model by default; "" where it says nothing.
        answers: ids of the folder's own answers, where the prompt is its own.
    """

    model: Decoder
    tokeniser: FastTokeniser
    chat: Chat
    prompt: Prompt
    limit: int
    ends: frozenset[int]
    instruction: str = ""
    answers: Sequence[int] | None = None

    def tokens(self, texts: Sequence[str]) -> Int32:
        """int32[n] ids of different answers that are one token each.

        Raises:
            SettingsError: one is several tokens, or none, or not in the vocabulary, where the
                unknown token would stand for it; or two are the same.
        """
        ids = [self._token(text) for text in texts]
        if len(set(ids)) < len(ids):
            raise SettingsError(
                f"Of the prompt's answers {', '.join(map(repr, texts))} two are one token of this "
                "model.",
                "Name a prompt with other answers.",
            )
        return np.array(ids, np.int32)

    def _token(self, text: str) -> int:
        ids = self.tokeniser.encode([text])[0].ids
        said = self.tokeniser.decode(ids).strip()
        if len(ids) != 1 or said != text.strip():
            what = f"{len(ids)} tokens" if len(ids) != 1 else f"the token {said!r}"
            raise SettingsError(
                f"The answer {text!r} is {what} of this model, and must be one of its own.",
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
        folder = read_language_folder(settings)
        check_decoder(folder.layout, settings.trust_remote_code)
        named = settings.prompt or self.prompt
        own = own_prompt(folder) if settings.prompt is None and self.alone else None
        card = self._card(settings, folder, own or read_prompt(named), halve)
        self.make(settings, self._language(folder, card, _UNLOADED))  # refuses what cannot be asked
        return card

    def unloaded(self, settings: Any, card: RerankerCard) -> Language:
        """What the card was read from, to see what would be asked; nothing can be."""
        return self._language(read_language_folder(settings), card, _UNLOADED)

    def load(self, settings: Any, device: str, card: RerankerCard) -> ListReranker:
        """The reranker that was planned as `card`, whose prompt it holds.

        Raises:
            IntegrityError: the model here is another one.
        """
        from shardrank.models.forward.decoder import load_decoder  # brings torch: a second

        folder, own = read_language_folder(settings), settled(settings, card)
        found = self._card(own, folder, card.prompt, halve=False)
        check_fingerprint(settings.model, card.fingerprint, found.fingerprint)
        model = load_decoder(
            folder.layout.transformer,
            card.dtype,
            settings.trust_remote_code,
            device,
            settings.batch_tokens,
        )
        return self.make(settings, self._language(folder, card, model))

    def _language(self, folder: LanguageFolder, card: RerankerCard, model: Decoder) -> Language:
        tokeniser, prompt = load_tokeniser(folder.layout), card.prompt
        return Language(
            model=model,
            tokeniser=tokeniser,
            chat=Chat(folder.layout.transformer, tokeniser, folder.form(prompt)),
            prompt=parse_prompt(prompt, self.methods),
            limit=card.max_tokens,
            ends=folder.ends,
            instruction=own_instruction(folder),
            answers=folder.answers(prompt),
        )

    def _card(
        self, settings: LanguageSettings, folder: LanguageFolder, prompt: str, halve: bool
    ) -> RerankerCard:
        parse_prompt(prompt, self.methods)
        facts = language_facts(folder.layout, settings, "reranker", halve)
        deciding: dict[str, Any] = {
            **facts.shown,
            "prompt": prompt,
            "family": settings.family,
        }
        own = settings.deciding()
        hidden = {
            **facts.hidden,
            "own": [folder.answers(prompt), own_instruction(folder)],
            "settings": {name: own[name] for name in sorted(own.keys() - set(_ELSEWHERE))},
        }
        return RerankerCard(
            name=settings.model,
            fingerprint=fingerprint(["language-reranker-2", deciding, hidden]),
            interpolation=float(own_or_set(settings.interpolation, 1.0)),
            sees="lists",
            alone=self.alone,
            **deciding,
        )


def language_notes(settings: LanguageSettings) -> list[str]:
    """Of the folder that the settings name, for people; raises as its card does."""
    return list(read_language_folder(settings).notes)


def language_size(settings: LanguageSettings) -> ModelSize:
    """Of the model that the settings name."""
    return decoder_size(read_language_folder(settings).layout)
