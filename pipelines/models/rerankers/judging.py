"""How a language model judges several passages that it sees in one prompt.

By the logits of their identifiers as the answer's first token, or by what it writes. Where it says
nothing (an answer that names no passage, a logit that is no number, a prompt that does not fit),
the judgement holds nothing, and whoever asked keeps the one that there was.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from re import Pattern

import numpy as np

from shardrank.core.arrays import Int32
from shardrank.core.protocols import Decoder
from shardrank.core.reranker_settings import ListwiseSettings, SetwiseSettings
from shardrank.models.rerankers.heard import Judgement, too_long
from shardrank.models.rerankers.identifiers import (
    Identifiers,
    Names,
    identifiers,
    names_of,
    refuse_unread,
    shown_as,
)
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskingList
from shardrank.models.rerankers.writing import Writer, asking_list, make_writer
from shardrank.orders.answers import Permutation, extraction, permutation
from shardrank.orders.by_score import by_score

#: A query and passages → what the model says of them.
Judge = Callable[[str, Sequence[str]], Judgement[Int32]]


@dataclass(frozen=True)
class Reading:
    """How an answer is taken.

    Attributes:
        answer: identifiers as the model writes them → the longest right answer.
        order: what was read → int32[n]; none: the answer is not right.
        mends: whether an answer is taken that has something wrong with it.
    """

    answer: Callable[[Sequence[str]], str]
    order: Callable[[Permutation], Int32 | None]
    mends: bool


@dataclass(frozen=True)
class ByLogits:
    """An order by the logits of identifiers at the next place (FIRST, arXiv 2406.15657)."""

    asking: AskingList
    model: Decoder
    known: Identifiers

    def __call__(self, query: str, passages: Sequence[str]) -> Judgement[Int32]:
        """See `Judge`."""
        n = len(passages)
        asked = self.asking.about(query, passages, self.known.names[:n], answer=0)
        if asked is None:
            return too_long(n)
        logits = self.model.last_logits([asked.input], self.known.tokens[:n])[0]
        if not np.isfinite(logits).all():
            return Judgement(None, asked.truncated, Counter(calls=1, unparsed=1))
        return Judgement(by_score(logits), asked.truncated, Counter(calls=1))


@dataclass(frozen=True)
class ByAnswer:
    """An order as the model writes it, parsed strictly."""

    writer: Writer
    names: Names
    found_by: Pattern[str]
    reading: Reading

    def __call__(self, query: str, passages: Sequence[str]) -> Judgement[Int32]:
        """See `Judge`."""
        names = self.names(len(passages))
        longest = self.reading.answer(shown_as(self.writer.language.prompt, names))
        wrote = self.writer.write(query, passages, names, longest)
        if wrote is None:
            return too_long(len(passages))
        found = permutation(wrote.text, names, self.found_by)
        order = self.reading.order(found)
        mended = order is not None and found.mended and self.reading.mends
        wrong = Counter(mended=int(mended), unparsed=int(order is None))
        return Judgement(order, wrote.truncated, wrote.counts + wrong, wrote.text)


def make_judge(
    settings: ListwiseSettings | SetwiseSettings, language: Language, most: int, reading: Reading
) -> Judge:
    """A judge of up to `most` passages, as the settings ask for it.

    Raises:
        SettingsError: the vocabulary or the prompt has too few identifiers.
    """
    prompt = language.prompt
    if settings.answer == "generated":
        names = names_of(prompt)
        refuse_unread(prompt, names(most))
        found_by = extraction(prompt.output_extraction_regex)
        return ByAnswer(make_writer(settings, language), names, found_by, reading)
    known = identifiers(language, most)
    return ByLogits(asking_list(settings, language, known.begins), language.model, known)
