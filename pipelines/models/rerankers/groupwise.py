"""A language model that grades each passage of a group which it sees together (GroupRank, arXiv
2511.11653).

It writes the grades, perhaps after some reasoning; or, where the prompt's `assistant` has the slot
{rank}, a passage's grade is the expectation Σ g·p(g) over the grades' tokens behind that. A passage
without a grade has no score. How groups are drawn, and how that differs from the authors' code, is
said in shardrank.orders.groups.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float64, Int32
from shardrank.core.errors import SettingsError
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.reranker_settings import GroupwiseSettings
from shardrank.models.rerankers.asked import Asked
from shardrank.models.rerankers.heard import Heard, Judgement, too_long
from shardrank.models.rerankers.identifiers import Candidates, one_token_each, shown_as
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskingList
from shardrank.models.rerankers.pointwise import Score, expected_grade, scale_grades
from shardrank.models.rerankers.writing import Writer, asking_list, make_writer
from shardrank.models.text.prompts import Prompt, fill
from shardrank.orders.answers import numbers
from shardrank.orders.grades import grades
from shardrank.orders.groups import Groups, averaged

#: A query and the passages of a group → float64[n] grades.
Grader = Callable[[str, Sequence[str]], Judgement[Float64]]


class GroupwiseReranker:
    """The mean grade of each passage (protocol: ListReranker)."""

    def __init__(self, groups: Groups, grader: Grader, keeps_answers: bool) -> None:
        self._groups = groups
        self._grader = grader
        self._keeps = keeps_answers

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """The passages' mean grades; NaN where a passage was given none."""
        heard = Heard(len(passages), self._keeps)
        groups = self._groups.groups(len(passages))
        graded = [self._graded(heard, query, passages, group) for group in groups]
        means = averaged(len(passages), groups, graded)
        return heard.scored(means.astype(np.float32))

    def _graded(self, heard: Heard, query: str, passages: Sequence[str], group: Int32) -> Float64:
        judged = self._grader(query, [passages[place] for place in group])
        heard.take(group, judged)
        return np.full(len(group), np.nan) if judged.said is None else judged.said


@dataclass(frozen=True)
class WrittenGrades:
    """Grades as the model writes them, parsed strictly."""

    writer: Writer
    scale: Sequence[str]

    def __call__(self, query: str, passages: Sequence[str]) -> Judgement[Float64]:
        """See `Grader`."""
        names = numbers(len(passages))
        longest = max(self.scale, key=len)
        shown = shown_as(self.writer.language.prompt, names)
        answer = "\n".join(f'"{name}": {longest},' for name in shown)
        wrote = self.writer.write(query, passages, names, answer)
        if wrote is None:
            return too_long(len(passages))
        found = grades(wrote.text, names, self.scale)
        wrong = Counter(mended=int(found.mended), unparsed=int(not found.parsed))
        said = found.scores if found.parsed else None
        return Judgement(said, wrote.truncated, wrote.counts + wrong, wrote.text)


@dataclass(frozen=True)
class ExpectedGrades:
    """Expectations of grades, each behind what begins an answer about its passage.

    Attributes:
        score: of inputs their expected grades.
    """

    asking: AskingList
    score: Score

    def __call__(self, query: str, passages: Sequence[str]) -> Judgement[Float64]:
        """See `Grader`."""
        names, chat = numbers(len(passages)), self.asking.chat
        begins = [_begins(self.asking.prompt, name) for name in names]
        room = max(len(chat.ids_of(each)) for each in begins)
        asked = self.asking.about(query, passages, names, room)
        if asked is None:
            return too_long(len(passages))
        inputs = [chat.ids_of(asked.text + each) for each in begins]
        found = self.score(Asked(inputs, asked.truncated)).astype(np.float64)
        known = np.isfinite(found)
        counts = Counter(calls=1, unparsed=int(not known.any()))
        said = np.where(known, found, np.nan) if known.any() else None
        return Judgement(said, asked.truncated, counts)


def make_groupwise(settings: GroupwiseSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for.

    Raises:
        SettingsError: the prompt has no scale, or one whose grades are no single tokens where
            their logits are asked for, or the settings contradict each other.
    """
    prompt = language.prompt
    scale_grades(prompt.scale)
    if not prompt.scale:
        raise SettingsError("The prompt has no scale.", 'Give one, such as scale: ["0", "1"].')
    groups = Groups(settings.group, settings.passes)
    grader = _expected if "{rank}" in prompt.assistant else _written
    return GroupwiseReranker(groups, grader(settings, language), settings.keep_answers)


def _written(settings: GroupwiseSettings, language: Language) -> Grader:
    return WrittenGrades(make_writer(settings, language), language.prompt.scale)


def _expected(settings: GroupwiseSettings, language: Language) -> Grader:
    if settings.reasoning_tokens:
        raise SettingsError(
            f"reasoning_tokens = {settings.reasoning_tokens}, but the prompt asks for grades by "
            "their logits.",
            "Name a prompt whose assistant has no {rank}, or leave reasoning_tokens out.",
        )
    prompt = language.prompt
    begins = _begins(prompt, numbers(1)[0])
    scale = Candidates(prompt.scale, len(prompt.scale), gaps=False)
    known = one_token_each(language, begins, scale)
    if len(known.names) < len(prompt.scale):
        grade = prompt.scale[len(known.names)]
        raise SettingsError(
            f"The grade {grade!r} is not one token of this model behind {begins!r}.",
            "Name a prompt whose scale has one digit, or have the grades written.",
        )
    score = expected_grade(language.model, known.tokens, scale_grades(prompt.scale))
    return ExpectedGrades(asking_list(settings, language, ""), score)


def _begins(prompt: Prompt, name: str) -> str:
    """How an answer about the passage of a name begins."""
    return fill(prompt.assistant, {"rank": name})
