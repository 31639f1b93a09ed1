"""Preferences of a language model, beside a plain implementation of what is asked and added up."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest

from shardrank.core.arrays import Float32, Int32
from shardrank.core.errors import SettingsError
from shardrank.core.reranker_settings import PairwiseSettings
from shardrank.models.folder.layout import read_layout
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.pairwise import make_pairwise
from shardrank.models.text.chat import Chat, Message
from shardrank.models.text.prompts import parse_prompt
from shardrank.models.text.tokens import load_tokeniser
from tests.tiny_language import Plain, tiny_language
from tests.tiny_models import WORDS

PROMPT = (
    'method: pairwise\nprefix: "{query}: "\nbody: "[{rank}] {candidate} "\n'
    'suffix: "Which?"\nanswers: ["A", "B"]\n'
)
QUERY = "heat"
PASSAGES = [" ".join(WORDS[start : start + 4]) for start in range(0, 20, 4)]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return opened(tiny_language(tmp_path_factory.mktemp("language")), PROMPT)


def opened(folder: Path, prompt: str) -> Language:
    tokeniser = load_tokeniser(read_layout(folder, plain=True))
    parsed = parse_prompt(prompt, frozenset({"pairwise"}))
    chat = Chat(folder, tokeniser)
    return Language(Plain(folder), tokeniser, chat, parsed, 400, frozenset({2}))


def settings(**given: object) -> PairwiseSettings:
    return PairwiseSettings.model_validate({"model": "m", **given})


def preferred(language: Language, passages: Sequence[str]) -> np.ndarray:
    """float64[n, n], of each passage over each other one, by the mean of both orders."""
    told = np.zeros((len(passages), len(passages)))
    for i, one in enumerate(passages):
        for j, other in enumerate(passages):
            text = f"{QUERY}: [A] {one} [B] {other} Which?"
            ids = language.chat.ids_of(language.chat.text([Message("user", text)], ""))
            tokens = language.tokens(["A", "B"])
            a, b = np.exp(language.model.last_logits([ids], tokens)[0].astype(np.float64))
            told[i, j] = a / (a + b)
    return (told + 1 - told.T) / 2


def test_copeland_counts_the_pairs_that_a_passage_wins(language: Language) -> None:
    found = make_pairwise(settings(order="copeland"), language).rank(QUERY, PASSAGES)
    wins = (preferred(language, PASSAGES) > 0.5).sum(axis=1)
    order = sorted(range(len(PASSAGES)), key=lambda at: -wins[at])
    assert np.argsort(-found.scores, kind="stable").tolist() == order
    assert sorted(found.scores.tolist()) == [-5, -4, -3, -2, -1]
    assert found.counts == {"calls": 20, "unparsed": 0}


def test_a_tour_is_the_best_of_all(language: Language) -> None:
    found = make_pairwise(settings(order="tour"), language).rank(QUERY, PASSAGES)
    known = preferred(language, PASSAGES)
    best = max(permutations(range(5)), key=lambda way: sum(known[a, b] for a, b in pairwise(way)))
    assert np.argsort(-found.scores).tolist() == list(best)


@pytest.mark.parametrize("pairs", ["all", "cycles"])
def test_ratings_give_the_preferences_back(language: Language, pairs: str) -> None:
    """Of Bradley and Terry's model the sum over a passage's pairs is that of its preferences."""
    found = make_pairwise(settings(pairs=pairs), language).rank(QUERY, PASSAGES)
    known = preferred(language, PASSAGES)
    if pairs == "all":
        odds = 1 / (1 + np.exp(found.scores[None] - found.scores[:, None]))
        np.testing.assert_allclose(odds.sum(axis=1), known.sum(axis=1), atol=1e-2)
    assert abs(found.scores.sum()) < 1e-5
    assert np.corrcoef(found.scores, known.mean(axis=1))[0, 1] > 0.9


def test_cycles_hang_on_the_query_and_the_seed_alone(language: Language) -> None:
    sparse = settings(pairs="cycles", cycles=1)
    first = make_pairwise(sparse, language).rank(QUERY, PASSAGES)
    assert first.counts["calls"] == 2 * len(PASSAGES)
    again = make_pairwise(sparse, language).rank(QUERY, PASSAGES)
    assert first.scores.tobytes() == again.scores.tobytes()
    other = make_pairwise(settings(pairs="cycles", cycles=1, seed=1), language)
    assert other.rank(QUERY, PASSAGES).scores.tobytes() != first.scores.tobytes()


class Broken(Plain):
    """A model that gives nothing finite where a word occurs."""

    def __init__(self, plain: Plain, word: Int32) -> None:
        self._plain, self._word = plain, word

    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        """NaN, or the model's."""
        found = self._plain.last_logits(inputs, answers)
        for row, each in enumerate(inputs):
            if self._word.tobytes() in each.tobytes():
                found[row] = np.nan
        return found


def test_a_preference_that_nobody_gave_is_left_out(language: Language) -> None:
    word = language.tokeniser.encode([f" {PASSAGES[3]}"])[0].ids
    assert isinstance(language.model, Plain)
    broken = replace(language, model=Broken(language.model, word))
    rated = make_pairwise(settings(), broken).rank(QUERY, PASSAGES)
    assert np.isnan(rated.scores).all()  # the fourth is compared with nobody
    assert rated.counts == {"calls": 20, "unparsed": 4}
    copeland = make_pairwise(settings(order="copeland"), broken).rank(QUERY, PASSAGES)
    assert np.isfinite(copeland.scores).all()


def test_one_passage_and_none_that_fits(language: Language) -> None:
    alone = make_pairwise(settings(), language).rank(QUERY, PASSAGES[:1])
    assert (alone.scores.tolist(), alone.counts["calls"]) == ([0.0], 0)
    ordered = make_pairwise(settings(order="tour"), language).rank(QUERY, PASSAGES[:1])
    assert ordered.scores.tolist() == [-1.0]
    long = make_pairwise(settings(), language).rank("heat " * 400, PASSAGES)
    assert np.isnan(long.scores).all()
    assert long.counts == {"too_long": 1}


def test_what_contradicts_itself_is_refused(language: Language, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs the preferences of all pairs"):
        settings(pairs="cycles", order="tour")
    three = opened(tiny_language(tmp_path), PROMPT.replace('["A", "B"]', '["A", "B", "C"]'))
    with pytest.raises(SettingsError, match="has 3 answers"):
        make_pairwise(settings(), three)
