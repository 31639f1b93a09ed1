"""What a language model is asked: prompts filled with a query and passages, cut to fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Bool, Int32
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import Prompt, fill
from shardrank.models.text.tokens import FastTokeniser


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked about n passages.

    Attributes:
        inputs: of each, int32 tokens; none where not even the query fits.
        truncated: bool[n], whether a passage was cut.
        begins: of each, the place at which the answer begins that the prompt gives.
    """

    inputs: Sequence[Int32] | None
    truncated: Bool
    begins: Sequence[int] = ()


@dataclass(frozen=True)
class Asking:
    """How a model is asked about one passage at a time.

    Attributes:
        limit: tokens of an input, at most.
    """

    chat: Chat
    tokeniser: FastTokeniser
    prompt: Prompt
    instruction: str
    limit: int

    def about(self, query: str, passages: Sequence[str]) -> Asked:
        """Inputs of at most `limit` tokens: a passage that is too long loses its end."""
        asked = self.chat.harmless(query)
        room = self.limit - len(self._input(asked, ""))
        if room < 1:
            return Asked(None, np.zeros(len(passages), np.bool_))
        texts = [self.chat.harmless(text) for text in passages]
        fitted = [fit(text, room, self.tokeniser, self._spare(asked)) for text in texts]
        inputs = [self._input(asked, text) for text in fitted]
        cut = [kept != text for kept, text in zip(fitted, texts, strict=True)]
        begins = self._begins(fitted, inputs) if self.prompt.answers_query else ()
        return Asked(inputs, np.array(cut, np.bool_), begins)

    def _begins(self, passages: Sequence[str], inputs: Sequence[Int32]) -> list[int]:
        """How much an input has in common with one without a query, which comes after that."""
        without = [self._input("", text) for text in passages]
        return [common(one, other) for one, other in zip(without, inputs, strict=True)]

    def _spare(self, query: str) -> Callable[[str], int]:
        return lambda passage: self.limit - len(self._input(query, passage))

    def _input(self, query: str, passage: str) -> Int32:
        slots = {"query": query, "doc_content": passage, "instruction": self.instruction}
        text = self.chat.text(self._messages(slots), fill(self.prompt.assistant, slots))
        return self.chat.ids_of(text)

    def _messages(self, slots: Mapping[str, str]) -> list[Message]:
        prompt = self.prompt
        if prompt.method == "query_and_document":
            both = Message("query", slots["query"]), Message("document", slots["doc_content"])
            own = [Message("system", self.instruction)] if self.instruction else []
            return [*own, *both]
        told = fill(prompt.prefix + prompt.body + prompt.suffix, slots)
        system = [Message("system", prompt.system_message)] if prompt.system_message else []
        return [*system, Message("user", told)]


def common(one: Int32, other: Int32) -> int:
    """How many tokens two inputs begin with in common."""
    least = min(len(one), len(other))
    differ = np.flatnonzero(one[:least] != other[:least])
    return int(differ[0]) if len(differ) else least


def fit(text: str, room: int, tokeniser: FastTokeniser, spare: Callable[[str], int]) -> str:
    """The text, or as much of its beginning as leaves `spare` no less than 0.

    Args:
        text: of a passage.
        room: tokens that it has, about: where it stands among others it may have a few more.
        tokeniser: of the model.
        spare: tokens that a text leaves of the input.
    """
    spans = tokeniser.encode([text])[0]
    if len(spans.ids) <= room and spare(text) >= 0:
        return text
    ends, kept = spans.places().ends, min(room, len(spans.ids))
    while True:
        cut = text[: int(ends[kept - 1])] if kept else ""
        over = -spare(cut)
        if over <= 0:
            return cut
        kept = max(0, kept - over)
