"""A language model that writes an answer about several passages, perhaps after some reasoning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardrank.core.arrays import Bool
from shardrank.core.reranker_settings import AnswerSettings
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskingList
from shardrank.orders.calls import AROUND_ANSWER


@dataclass(frozen=True, eq=False)
class Wrote:
    """An answer.

    Attributes:
        text: what it says, with what the prompt began it with.
        truncated: bool[n], which passages were cut.
        counts: of the call; see `ListScores`.
    """

    text: str
    truncated: Bool
    counts: Counter[str]


@dataclass(frozen=True)
class Writer:
    """A model that writes, greedily.

    Attributes:
        reasoning: tokens that it may write before its answer.
    """

    asking: AskingList
    language: Language
    reasoning: int

    def write(
        self, query: str, passages: Sequence[str], names: Sequence[str], answer: str
    ) -> Wrote | None:
        """What it writes of passages called `names`; none: the prompt does not fit.

        Args:
            query: the query.
            passages: what it is shown.
            names: their identifiers.
            answer: as long as a right one can be; what it writes besides its reasoning may be a
                little longer.
        """
        room = len(self.language.tokeniser.encode([answer])[0].ids) + AROUND_ANSWER + self.reasoning
        asked = self.asking.about(query, passages, names, room)
        if asked is None:
            return None
        (made,) = self.language.model.generate([asked.input], room, self.language.ends)
        text = _begun(asked.text, self.language.prompt.assistant) + self.language.tokeniser.decode(
            made
        )
        return Wrote(text, asked.truncated, Counter(calls=1, generated=len(made)))


def make_writer(settings: AnswerSettings, language: Language) -> Writer:
    """A model that writes as the settings ask for it."""
    asking = asking_list(settings, language, language.prompt.assistant)
    return Writer(asking, language, settings.reasoning_tokens)


def asking_list(settings: AnswerSettings, language: Language, begins: str) -> AskingList:
    """How the settings have a model asked whose answer begins so."""
    asking = AskingList.of(language, settings.passage_tokens)
    return replace(asking, begins=begins, thinks=settings.reasoning_tokens > 0)


def _begun(asked: str, begins: str) -> str:
    """How the answer begins; some templates begin the reasoning themselves."""
    return "<think>" if asked.rstrip().endswith("<think>") else begins
