"""A cross-encoder as an index: against CUR in plain numpy, and what cannot be one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.arrays import Float32, Int32
from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import AnchorCard
from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.protocols import PairScores, TokenPlaces, TokenSpans
from shardrank.models.encoders import anchor_fit
from shardrank.models.encoders.anchor_cards import sampled_for_anchors
from shardrank.models.encoders.anchor_codec import AnchorCodec
from shardrank.models.encoders.anchor_fit import FIRST_WORDS, draw_anchors, fit_anchors
from shardrank.models.encoders.anchors import AnchorScores, all_scores
from shardrank.models.encoders.cur import cross_factor

RNG = np.random.default_rng(3)
RANK, QUERIES, PASSAGES = 5, 8, 12
PROMPT = "ask "
CARD = AnchorCard("m", "f", "r", "w", "t", QUERIES, PASSAGES, "", 64, "fp32", "fp32")
SETTINGS = AnchorSettings(anchor_queries=QUERIES, anchor_passages=PASSAGES)


class Words:
    """A word is the token that its number says (protocol: Tokeniser)."""

    fingerprint, vocab_size, specials = "words", 1000, 0

    def encode(self, texts: Sequence[str]) -> list[TokenSpans]:
        numbers = [[int(word) for word in text.split() if word.isdigit()] for text in texts]
        none = np.zeros(0, np.int32)
        places = TokenPlaces(none, none, none)
        return [TokenSpans(np.array(ids, np.int32), 0, lambda: places) for ids in numbers]


class LowRank:
    """Scores of rank RANK: of a text's first token alone (protocol: Reranker)."""

    tokeniser, prompt = Words(), PROMPT

    def __init__(self, rank: int = RANK) -> None:
        self.left = RNG.standard_normal((1000, rank))
        self.right = RNG.standard_normal((1000, rank))
        self.pairs = 0

    def score(
        self, queries: Sequence[Int32], passages: Sequence[Int32], left: Int32, right: Int32
    ) -> PairScores:
        self.pairs += len(left)
        asked = self.left[[queries[i][0] for i in left]]
        read = self.right[[passages[i][0] for i in right]]
        logits = (asked * read).sum(axis=1).astype(np.float32)
        return PairScores(logits, np.zeros(len(left), np.bool_))

    def whole(self, queries: Sequence[str], passages: Sequence[str]) -> Float32:
        """As `score`, of all pairs of texts "NUMBER …"."""
        rows = [int(text.split()[0]) for text in queries]
        columns = [int(text.split()[0]) for text in passages]
        return (self.left[rows] @ self.right[columns].T).astype(np.float32)


def texts(start: int, count: int) -> list[str]:
    return [f"{n} wing" for n in range(start, start + count)]


def strings(given: Sequence[str]) -> pa.Array:
    return pa.array(given, pa.string())


def codec_of(model: LowRank) -> AnchorCodec:
    queries, passages = texts(0, QUERIES), texts(100, PASSAGES)
    factor = cross_factor(model.whole(queries, passages))
    return AnchorCodec(queries, passages, factor, np.zeros((QUERIES, QUERIES), np.float32))


def test_estimates_are_exact_where_the_rank_is_no_more_than_the_anchors() -> None:
    model = LowRank()
    encoder = AnchorScores(model, codec_of(model), "fp32")
    queries, passages = texts(500, 40), texts(600, 70)
    column = matrix(pa.chunked_array([encoder.column(strings(passages))]))
    asked = matrix(pa.chunked_array([encoder.queries(strings(queries))]))
    assert (column.shape, asked.shape) == ((70, QUERIES), (40, QUERIES))
    np.testing.assert_allclose(asked @ column.T, model.whole(queries, passages), atol=1e-3)


def test_estimates_are_those_of_cur() -> None:
    """Of a rank that is larger: C · pinv(S) · R by numpy alone."""
    model = LowRank(rank=30)
    codec = codec_of(model)
    encoder = AnchorScores(model, codec, "fp32")
    queries, passages = texts(500, 9), texts(600, 7)
    column = matrix(pa.chunked_array([encoder.column(strings(passages))]))
    asked = matrix(pa.chunked_array([encoder.queries(strings(queries))]))
    crossing = model.whole(codec.queries, codec.passages).astype(np.float64)
    expected = (
        model.whole(queries, codec.passages)
        @ np.linalg.pinv(crossing)
        @ model.whole(codec.queries, passages)
    )
    np.testing.assert_allclose(asked @ column.T, expected, atol=1e-3)


def test_a_text_that_occurs_again_is_scored_once() -> None:
    model = LowRank()
    encoder = AnchorScores(model, codec_of(model), "fp16")
    column = encoder.column(strings(["7", "9 x", "7", "7"]))
    assert model.pairs == 2 * QUERIES
    assert column.type == pa.list_(pa.float16(), QUERIES)
    assert column[0] == column[2] == column[3] != column[1]
    assert encoder.column(strings([])).equals(column[:0])
    assert encoder.queries(strings([])).type == pa.list_(pa.float32(), QUERIES)


def test_passages_are_scored_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, queries, passages = LowRank(), texts(0, 5), texts(50, 23)
    monkeypatch.setattr("shardrank.models.encoders.anchors._PAIRS", 20)
    np.testing.assert_allclose(
        all_scores(model, queries, passages), model.whole(queries, passages), atol=1e-6
    )


def test_noise_is_not_inverted() -> None:
    exact = RNG.standard_normal((20, 4)) @ RNG.standard_normal((4, 30))
    noisy = (exact + 1e-4 * RNG.standard_normal((20, 30))).astype(np.float32)
    assert np.abs(cross_factor(noisy)).max() < 10
    assert np.abs(cross_factor(noisy, least=0)).max() > 100


def test_a_codec_is_kept_as_safetensors() -> None:
    found = replace(codec_of(LowRank()), queries=["", "é ", *texts(0, QUERIES - 2)])
    again = AnchorCodec.of(found.to_bytes())
    assert (again.queries, again.passages) == (found.queries, found.passages)
    np.testing.assert_array_equal(again.factor, found.factor)
    np.testing.assert_array_equal(again.asked, found.asked)
    assert again.to_bytes() == found.to_bytes()
    fewer = replace(found, passages=found.passages[1:])
    for broken in (found.to_bytes()[:-5], b"", None):
        with pytest.raises(IntegrityError, match="no safetensors file"):
            AnchorCodec.of(broken)
    with pytest.raises(IntegrityError, match="factor of the shape"):
        AnchorCodec.of(fewer.to_bytes())


def test_anchors_are_drawn_from_passages() -> None:
    sample = strings([" ".join([f"{n}", *["word"] * 30]) for n in range(30)] + ["", " ", "3 word"])
    found = draw_anchors(SETTINGS, sample, None)
    assert (len(found.queries), len(found.passages)) == (QUERIES, PASSAGES)
    assert len({*found.queries}) == QUERIES
    assert all(len(text.split()) <= FIRST_WORDS for text in found.queries)
    heads = {text.split()[0] for text in found.passages}
    assert not heads & {text.split()[0] for text in found.queries}
    assert draw_anchors(SETTINGS, sample, None) == found
    assert sampled_for_anchors(SETTINGS, CARD) > QUERIES + PASSAGES


def test_queries_of_a_file_are_taken_as_they_are() -> None:
    asked = strings(texts(300, 2 * QUERIES))
    given = SETTINGS.model_copy(update={"queries": "some.jsonl"})
    found = draw_anchors(given, strings(texts(0, PASSAGES)), asked)
    assert {*found.queries} < {*texts(300, 2 * QUERIES)}
    assert {*found.passages} == {*texts(0, PASSAGES)}
    assert PASSAGES < sampled_for_anchors(given, CARD) < PASSAGES + 20


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> LowRank:
    made = LowRank()
    monkeypatch.setattr(anchor_fit, "load_cross", lambda settings, device, card: made)
    return made


def test_a_codec_is_fitted(model: LowRank) -> None:
    sample = strings(texts(0, 40))
    data = fit_anchors(SETTINGS, CARD, "cpu", sample, None)
    assert data == fit_anchors(SETTINGS, CARD, "cpu", sample, None)
    codec = AnchorCodec.of(data)
    crossing = model.whole(codec.queries, codec.passages)
    np.testing.assert_allclose(crossing @ codec.factor @ crossing, crossing, atol=1e-4)
    np.testing.assert_allclose(codec.asked, crossing @ codec.factor, atol=1e-5)


def test_too_few_texts_are_refused(model: LowRank) -> None:
    with pytest.raises(SettingsError, match="anchor_passages = 12, and there are 11 passages"):
        fit_anchors(SETTINGS, CARD, "cpu", strings(texts(0, 11)), None)
    with pytest.raises(SettingsError, match="anchor_queries = 8, and there are 7 passages beside"):
        fit_anchors(SETTINGS, CARD, "cpu", strings(texts(0, 19)), None)
    with pytest.raises(SettingsError, match="there are 1 different queries in the file"):
        fit_anchors(SETTINGS, CARD, "cpu", strings(texts(0, 40)), strings(["one", "one", " "]))


def test_scores_that_say_nothing_are_refused(model: LowRank) -> None:
    model.right[3] = np.nan
    with pytest.raises(InputError, match="of 96 scores of anchors that are NaN"):
        fit_anchors(SETTINGS, CARD, "cpu", strings(texts(0, 20)), None)
    model.right[:] = 0
    with pytest.raises(InputError, match="scores all pairs of anchors 0"):
        fit_anchors(SETTINGS, CARD, "cpu", strings(texts(0, 20)), None)
