"""A prompt about several passages at once, cut to fit."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from shardrank.core.arrays import Bool, Int32
from shardrank.models.rerankers.language import Language
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import Prompt, fill
from shardrank.models.text.tokens import FastTokeniser
from shardrank.orders.calls import LEAST_TOKENS


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
        begins: how the model's answer begins; none: as the prompt says.
        thinks: whether a template that knows of reasoning leaves the model to reason.
    """

    chat: Chat
    tokeniser: FastTokeniser
    prompt: Prompt
    limit: int
    passage_tokens: int
    begins: str | None = None
    thinks: bool = False

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
        asked = [self._harmless(query, names) for query in queries]
        texts = [self._harmless(text, names) for text in passages]
        ends = [spans.places().ends for spans in self.tokeniser.encode(texts)]
        lengths = np.array([len(each) for each in ends])
        limit, room = self.passage_tokens, self.limit - answer
        while limit >= min(LEAST_TOKENS, lengths.max(initial=0)):
            kept = [_first(t, e, limit) for t, e in zip(texts, ends, strict=True)]
            found = [self._asked(query, kept, names, lengths > limit) for query in asked]
            over = max(len(each.input) for each in found) - room
            if over <= 0:
                return found
            limit = _lower(lengths, limit, over)
        return []

    def room(self, names: Sequence[str]) -> int:
        """Tokens that a prompt about passages called so leaves to them, to its query and to an
        answer; less than 0: it does not fit even without them."""
        none = np.zeros(len(names), np.bool_)
        return self.limit - len(self._asked("", [""] * len(names), names, none).input)

    def _asked(
        self, query: str, passages: Sequence[str], names: Sequence[str], truncated: Bool
    ) -> AskedList:
        begins = self.prompt.assistant if self.begins is None else self.begins
        said = list_messages(self.prompt, query, passages, names)
        text = self.chat.text(said, begins, self.thinks)
        told = list_pieces(self.prompt, query, passages, names)
        return AskedList(self.chat.ids_of(text), text, truncated, told)

    def _harmless(self, text: str, names: Sequence[str]) -> str:
        return self.chat.harmless(without_identifiers(text, names))


def without_identifiers(text: str, names: Sequence[str]) -> str:
    """The text with numbers and `names` in round brackets where they stand in square ones.

    A reference such as [3] in a passage would be taken for the passage that is called so, by the
    model, which was told that this is how passages are named. rank_llm does so for numbers.
    """
    known = frozenset(names)

    def written(found: re.Match[str]) -> str:
        named = found[1].isdecimal() or found[1] in known
        return f"({found[1]})" if named else found[0]

    return re.sub(r"\[(\w+)\]", written, text)


def list_messages(
    prompt: Prompt, query: str, passages: Sequence[str], names: Sequence[str]
) -> list[Message]:
    """What a prompt says of passages called `names`, in one message or as a conversation."""
    system = [Message("system", prompt.system_message)] if prompt.system_message else []
    if prompt.method == "multiturn_listwise":
        return [*system, *_turns(prompt, *_slots(query, passages, names))]
    return [*system, Message("user", "".join(list_pieces(prompt, query, passages, names)))]


def list_pieces(
    prompt: Prompt, query: str, passages: Sequence[str], names: Sequence[str]
) -> list[str]:
    """What stands in the one message of a prompt: before the passages, each of them, and behind."""
    about, each = _slots(query, passages, names)
    bodies = [fill(prompt.body, slots) for slots in each]
    return [fill(prompt.prefix, about), *bodies, fill(prompt.suffix, about)]


def _slots(
    query: str, passages: Sequence[str], names: Sequence[str]
) -> tuple[Mapping[str, str], list[Mapping[str, str]]]:
    """What slots are filled with: those about the list, and those of each passage."""
    listed = "[" + ", ".join(f"PASSAGE{name}" for name in names) + "]"  # rank_lrl's manner
    about = {"query": query, "num": str(len(passages)), "psg_ids": listed}
    both = zip(names, passages, strict=True)
    return about, [{"rank": name, "candidate": text} for name, text in both]


def _turns(
    prompt: Prompt, about: Mapping[str, str], each: Sequence[Mapping[str, str]]
) -> list[Message]:
    """RankGPT's conversation. Passages are turns of their own where the other side has an answer to
    each; else they are in the last message."""
    greeted = _turn(fill(prompt.prefix_user, about), fill(prompt.prefix_assistant, about))
    bodies = [fill(prompt.body_user, slots) for slots in each]
    asks = fill(prompt.suffix_user, about)
    opening = greeted if prompt.prefix_user else []
    if not prompt.body_assistant:
        return [*opening, Message("user", "".join([*bodies, asks]))]
    replies = [fill(prompt.body_assistant, slots) for slots in each]
    turns = [_turn(told, reply) for told, reply in zip(bodies, replies, strict=True)]
    return [*opening, *chain.from_iterable(turns), Message("user", asks)]


def _turn(user: str, assistant: str) -> list[Message]:
    return [Message("user", user), Message("assistant", assistant)]


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
