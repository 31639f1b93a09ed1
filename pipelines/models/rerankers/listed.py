"""A prompt about several passages at once, cut to fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool, Int32
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import Prompt, fill
from shardrank.models.text.tokens import FastTokeniser

#: Tokens of a passage, at least: with fewer nobody could tell what it is about.
_LEAST = 8


@dataclass(frozen=True, eq=False)
class AskedList:
    """What is asked about n passages at once.

    Attributes:
        input: int32 tokens of the prompt.
        text: the same as text.
        truncated: bool[n], which passages were cut.
        told: what the user says in it, in n + 2 pieces: what stands before the passages, each of
            them, and what stands behind.
    """

    input: Int32
    text: str
    truncated: Bool
    told: Sequence[str]


@dataclass(frozen=True)
class AskingList:
    """How a model is asked about a list.

    Attributes:
        limit: tokens of the prompt and the answer, at most.
        passage_tokens: tokens of a passage, at most.
    """

    chat: Chat
    tokeniser: FastTokeniser
    prompt: Prompt
    limit: int
    passage_tokens: int

    @classmethod
    def of(cls, language: Language, passage_tokens: int) -> "AskingList":
        """As a language model is asked by its prompt."""
        chat, tokeniser = language.chat, language.tokeniser
        return cls(chat, tokeniser, language.prompt, language.limit, passage_tokens)

    def about(
        self, query: str, passages: Sequence[str], names: Sequence[str], answer: int
    ) -> AskedList | None:
        """The prompt about passages called `names`, with room for an answer of so many tokens;
        none where not 8 tokens of each passage would fit. What does not fit is taken from the ends
        of the longest passages."""
        found = self.about_each((query,), passages, names, answer)
        return found[0] if found else None

    def about_each(
        self, queries: Sequence[str], passages: Sequence[str], names: Sequence[str], answer: int
    ) -> list[AskedList]:
        """A prompt for each query, with the same passages cut alike so that all fit: see `about`;
        none at all where one would not."""
        asked = [self.chat.harmless(query) for query in queries]
        texts = [self.chat.harmless(text) for text in passages]
        ends = [spans.places().ends for spans in self.tokeniser.encode(texts)]
        lengths = np.array([len(each) for each in ends])
        limit, room = self.passage_tokens, self.limit - answer
        while limit >= min(_LEAST, lengths.max(initial=0)):
            kept = [_first(t, e, limit) for t, e in zip(texts, ends, strict=True)]
            found = [self._asked(query, kept, names, lengths > limit) for query in asked]
            over = max(len(each.input) for each in found) - room
            if over <= 0:
                return found
            limit = _lower(lengths, limit, over)
        return []

    def _asked(
        self, query: str, passages: Sequence[str], names: Sequence[str], truncated: Bool
    ) -> AskedList:
        told = self._told(query, passages, names)
        system = [Message("system", self.prompt.system_message)] * bool(self.prompt.system_message)
        messages = [*system, Message("user", "".join(told))]
        text = self.chat.text(messages, self.prompt.assistant)
        return AskedList(self.chat.ids_of(text), text, truncated, told)

    def _told(self, query: str, passages: Sequence[str], names: Sequence[str]) -> list[str]:
        prompt, about = self.prompt, {"query": query, "num": str(len(passages))}
        bodies = [
            fill(prompt.body, {"rank": name, "candidate": text})
            for name, text in zip(names, passages, strict=True)
        ]
        return [fill(prompt.prefix, about), *bodies, fill(prompt.suffix, about)]


def _first(text: str, ends: Int32, tokens: int) -> str:
    """Of a text the first so many tokens."""
    return text if len(ends) <= tokens else text[: int(ends[tokens - 1])]


def _lower(lengths: np.ndarray, limit: int, over: int) -> int:
    """The limit that takes at least so many tokens from the longest; less than 0: none does."""
    now = np.minimum(lengths, limit)
    limits = np.arange(limit)
    taken = now.sum() - np.minimum(now[:, None], limits).sum(axis=0)  # falls as the limit rises
    enough = np.flatnonzero(taken >= over)
    return int(enough[-1]) if len(enough) else -1
