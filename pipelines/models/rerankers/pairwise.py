"""A language model that is asked which of two passages is better, and an order of all from that.

Each pair is asked in both orders, and the mean is taken, since models prefer a place (Qin et al.,
NAACL 2024, "Large Language Models are Effective Text Rankers with Pairwise Ranking Prompting"). A
preference is the first answer's probability among the two answers. Ratings of sparse random pairs
are what zELO makes labels of (arXiv 2509.12541).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from shardrank.core.arrays import Bool, Float32, Float64, Int32
from shardrank.core.errors import InputError, SettingsError
from shardrank.core.protocols import ListReranker, ListScores
from shardrank.core.reranker_settings import PairwiseSettings
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listed import AskingList
from shardrank.orders.by_score import minus_ranks
from shardrank.orders.pairs import both_orders, cycles, every_pair
from shardrank.orders.ratings import rated
from shardrank.orders.tours import copeland, tour


@dataclass(frozen=True, eq=False)
class Compared:
    """What the model prefers.

    Attributes:
        first: float64[n, n], for the row's passage over the column's where it is shown first; NaN:
            the pair was not asked about, or the model gave nothing finite.
        truncated: bool[n], which passages were cut.
        calls: questions that were asked.
    """

    first: Float64
    truncated: Bool
    calls: int


class PairwiseReranker:
    """Orders or ratings of passages, from preferences (protocol: ListReranker)."""

    def __init__(self, settings: PairwiseSettings, language: Language) -> None:
        self._settings = settings
        self._model = language.model
        self._asking = AskingList.of(language, settings.passage_tokens)
        self._names = language.prompt.answers
        self._tokens = language.tokens(self._names)

    def rank(self, query: str, passages: Sequence[str]) -> ListScores:
        """Ratings, or minus the rank; none where the query leaves two passages no room, or where
        the preferences that the model gave do not connect all."""
        pairs = self._pairs(query, len(passages))
        asked = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
        compared = self._compared(query, passages, asked)
        if compared is None:
            none = np.full(len(passages), np.nan, np.float32)
            return ListScores(none, np.zeros(len(passages), np.bool_), {"too_long": 1})
        preferred = both_orders(compared.first, compared.first.T)
        known = preferred[pairs[:, 0], pairs[:, 1]]
        counts = {"calls": compared.calls, "unparsed": int(np.isnan(known).sum())}
        return ListScores(self._scores(preferred, pairs, known), compared.truncated, counts)

    def _pairs(self, query: str, n: int) -> Int32:
        if self._settings.pairs == "all":
            pairs = every_pair(n)
            return pairs[pairs[:, 0] < pairs[:, 1]]
        told = sha256(f"{self._settings.seed}\n{query}".encode()).digest()
        return cycles(n, self._settings.cycles, int.from_bytes(told[:8], "big"))

    def _compared(self, query: str, passages: Sequence[str], asked: Int32) -> Compared | None:
        """What the model prefers of ordered pairs; those with one first passage are asked together,
        since they begin alike."""
        n = len(passages)
        first, cut = np.full((n, n), np.nan), np.zeros(n, np.bool_)
        for shown in np.unique(asked[:, 0]).tolist():
            others = asked[asked[:, 0] == shown, 1].tolist()
            found = [
                self._asking.about(query, [passages[shown], passages[o]], self._names, 1)
                for o in others
            ]
            fitting = [each for each in found if each is not None]
            if len(fitting) < len(found):
                return None
            logits = self._model.last_logits([each.input for each in fitting], self._tokens)
            first[shown, others] = _share(logits)
            for other, each in zip(others, fitting, strict=True):
                cut[[shown, other]] |= each.truncated
        return Compared(first, cut, len(asked))

    def _scores(self, preferred: Float64, pairs: Int32, known: Float64) -> Float32:
        how, n = self._settings.order, len(preferred)
        if n > 1 and np.isnan(known).all():
            return np.full(n, np.nan, np.float32)
        if how == "tour" or how == "copeland":
            return minus_ranks(tour(preferred) if how == "tour" else copeland(preferred))
        try:
            return rated(n, pairs, known, how).scores.astype(np.float32)
        except InputError:  # what is known does not connect all
            return np.full(n, np.nan, np.float32)


def _share(logits: Float32) -> Float64:
    """float64[n]: the first answer's probability among the two; NaN where a logit is."""
    shares: Float64 = 1 / (1 + np.exp(logits[:, 1].astype(np.float64) - logits[:, 0]))
    return shares


def make_pairwise(settings: PairwiseSettings, language: Language) -> ListReranker:
    """The reranker that the settings ask for.

    Raises:
        SettingsError: the prompt has not two answers, or one is no single token.
    """
    if len(language.prompt.answers) != 2:
        raise SettingsError(
            f"The prompt has {len(language.prompt.answers)} answers, and one of two is better.",
            'Give answers: ["A", "B"], as the two are called.',
        )
    return PairwiseReranker(settings, language)
