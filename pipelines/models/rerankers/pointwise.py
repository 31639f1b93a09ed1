"""A language model that is asked about one passage at a time.

Three ways, as its prompt says: the difference of two answers' logits, which is the log-odds of
"yes" (Nogueira et al. 2020, arXiv 2003.06713; Qwen3-Reranker); the expectation of an integer grade,
Σ g·p(g) over the grades' tokens (ERank, arXiv 2509.00520); and the mean log-probability of the
query's tokens behind the passage (Sachan et al. 2022, arXiv 2204.07496).
"""

from collections.abc import Callable, Sequence

import numpy as np

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import SettingsError
from shardrank.core.protocols import Decoder, ListReranker, ListScores
from shardrank.core.reranker_settings import PointwiseSettings
from shardrank.models.cards import own_or_set
from shardrank.models.rerankers.asked import Asked, Asking
from shardrank.models.rerankers.language import Language

Score = Callable[[Asked], Float32]


class PointwiseReranker:
    """Scores of passages, each by itself (protocol: ListReranker)."""

    def __init__(self, asking: Asking, score: Score) -> None:
        self._asking = asking
        self._score = score

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Scores of the passages; a query that fills the model's input alone has none."""
        asked = self._asking.about(query, passages)
        if asked.inputs is None:
            none = np.full(len(passages), np.nan, np.float32)
            return ListScores(none, asked.truncated, {"too_long": 1})
        return ListScores(self._score(asked), asked.truncated, {"calls": len(passages)})


def log_odds(model: Decoder, answers: Int32) -> Score:
    """The first answer's logit less the second's, or the only one's logit."""

    def score(asked: Asked) -> Float32:
        logits = model.last_logits(asked.inputs or (), answers)
        return logits[:, 0] - logits[:, 1] if len(answers) > 1 else logits[:, 0]

    return score


def expected_grade(model: Decoder, tokens: Int32, grades: Float32) -> Score:
    """Σ g·p(g), where p is over the grades alone."""

    def score(asked: Asked) -> Float32:
        logits = model.last_logits(asked.inputs or (), tokens).astype(np.float64)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Float32 = (weights @ grades / weights.sum(axis=1)).astype(np.float32)
        return found

    return score


def query_likelihood(model: Decoder) -> Score:
    """The mean log-probability of the query's tokens, which are an input's last ones."""

    def score(asked: Asked) -> Float32:
        found = model.logprobs(asked.inputs or (), asked.begins)
        return np.array([each.mean() for each in found], np.float32)

    return score


def make_pointwise(settings: PointwiseSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for.

    Raises:
        SettingsError: the prompt has neither answers nor a scale, or one is no single token.
    """
    prompt = language.prompt
    if settings.instruction is not None and not prompt.takes_instruction:
        raise SettingsError(
            "reranker.instruction is set, and the prompt has no slot {instruction} for it.",
            "Leave it out, or name a prompt that has one.",
        )
    told = own_or_set(settings.instruction, language.instruction or prompt.instruction)
    asking = Asking(language.chat, language.tokeniser, prompt, told, language.limit)
    return PointwiseReranker(asking, _score(language))


def _score(language: Language) -> Score:
    prompt = language.prompt
    if prompt.answers_query:
        return query_likelihood(language.model)
    if language.answers is not None:
        return log_odds(language.model, np.array(language.answers, np.int32))
    tokens = language.tokens(prompt.answers or prompt.scale)
    if prompt.scale:
        return expected_grade(language.model, tokens, scale_grades(prompt.scale))
    if not 1 <= len(tokens) <= 2:
        raise SettingsError(
            f"The prompt has {len(tokens)} answers, and neither a scale nor the query to begin the "
            "answer with.",
            'Give answers: ["yes", "no"], the relevant one first.',
        )
    return log_odds(language.model, tokens)


def scale_grades(scale: Sequence[str]) -> Float32:
    """The integers that the texts of a prompt's scale stand for.

    Raises:
        SettingsError: one is no integer.
    """
    try:
        return np.array([int(each) for each in scale], np.float32)
    except ValueError as error:
        raise SettingsError(f"The prompt's scale holds no integer: {error}.", "") from error
