"""One learnt vector for many: the regression, and what it is worth."""

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrow_columns import matrix
from shardrank.core.cards import Bm25Card, LateCard
from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.learned_settings import LearnedSettings
from shardrank.core.token_vectors import TokenVectors
from shardrank.models.encoders.learned import Learned, LearnedCodec, largest_products
from shardrank.models.encoders.learned_cards import read_learned_card
from shardrank.models.encoders.learned_fit import fit_learned

WIDTH, DIM = 12, 64
SETTINGS = LearnedSettings(dim=DIM, tokens=512, passages=40, steps=60)


def texts(sizes: list[int], seed: int = 0) -> TokenVectors:
    """Of vectors near some common ones, as words are."""
    draw = np.random.default_rng(seed)
    words = np.random.default_rng(9).standard_normal((60, WIDTH))
    vectors = words[draw.integers(0, 60, sum(sizes))] + 0.3 * draw.standard_normal(
        (sum(sizes), WIDTH)
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TokenVectors(np.concatenate([[0], np.cumsum(sizes)]), vectors.astype(np.float32))


@pytest.fixture(scope="module")
def codec() -> LearnedCodec:
    return fit_learned(texts([20] * 60), SETTINGS)


def maxsim(queries: TokenVectors, passages: TokenVectors) -> np.ndarray:
    return np.array(
        [
            [(queries.text(q) @ passages.text(p).T).max(axis=1).sum() for p in range(passages.rows)]
            for q in range(queries.rows)
        ]
    )


def products(codec: LearnedCodec, queries: TokenVectors, passages: TokenVectors) -> np.ndarray:
    made = Learned(codec, None)
    asked = matrix(pa.chunked_array([made.queries(queries.array(pa.float32()))]))
    return asked @ matrix(pa.chunked_array([made.column(passages.array(pa.float16()))])).T


def test_products_are_about_the_sums_of_the_largest(codec: LearnedCodec) -> None:
    """Better than without training, of passages that nothing was learnt of."""
    queries, passages = texts([8] * 20, seed=1), texts([25] * 80, seed=2)
    exact = maxsim(queries, passages)
    untrained = LearnedCodec(np.ones_like(codec.weights), codec.bias, codec.tokens)
    agree = [
        np.corrcoef(products(each, queries, passages).ravel(), exact.ravel())[0, 1]
        for each in (codec, untrained)
    ]
    assert agree[0] > 0.75
    assert agree[0] > agree[1]


def test_a_passage_is_fitted_by_ridge_regression(codec: LearnedCodec) -> None:
    passages = texts([9], seed=4)
    phi = codec.features(codec.tokens).astype(np.float64)
    wanted = (codec.tokens @ passages.vectors.T).max(axis=1)
    penalty = 1e-3 * np.trace(phi.T @ phi) / DIM
    both = np.vstack([phi, np.sqrt(penalty) * np.eye(DIM)])
    expected, *_ = np.linalg.lstsq(both, np.concatenate([wanted, np.zeros(DIM)]), rcond=None)
    [found] = matrix(pa.chunked_array([Learned(codec, None).column(passages.array(pa.float32()))]))
    assert found == pytest.approx(expected, abs=2e-2)


def test_the_largest_products_of_any_lengths() -> None:
    passages, fixed = texts([3, 0, 8192, 1, 0], seed=5), texts([7]).vectors
    found = largest_products(fixed, passages)
    for row in range(passages.rows):
        mine = passages.text(row)
        expected = (mine @ fixed.T).max(axis=0) if len(mine) else np.zeros(7)
        assert found[row] == pytest.approx(expected, abs=1e-5)


def test_a_passage_has_the_same_bits_in_any_batch(codec: LearnedCodec) -> None:
    """Alone, behind others, in a slice, and in more than are decoded at once."""
    passages = texts([25, 1, 0, 13, 40, 12, 300, 7] * 40, seed=6)
    read, made = passages.array(pa.float16()), Learned(codec, None)
    whole = made.column(read)
    for begin, count in ((0, 1), (3, 1), (6, 1), (1, 7), (5, 12), (250, 20), (17, 300)):
        assert made.column(read.slice(begin, count)).equals(whole.slice(begin, count))
    asked = passages.array(pa.float32())
    assert made.queries(asked.slice(9, 5)).equals(made.queries(asked).slice(9, 5))


def test_tokens_of_another_width_are_refused(codec: LearnedCodec) -> None:
    other = TokenVectors(np.array([0, 2]), np.ones((2, WIDTH + 1), np.float32))
    with pytest.raises(IntegrityError, match="components, and the tokens have"):
        largest_products(codec.tokens, other)


def test_equal_samples_give_equal_bytes_and_bytes_come_back(codec: LearnedCodec) -> None:
    data = codec.to_bytes()
    assert fit_learned(texts([20] * 60), SETTINGS).to_bytes() == data
    assert np.array_equal(LearnedCodec.of(data).weights, codec.weights)
    assert matrix(
        pa.chunked_array([Learned(codec, None).queries(texts([]).array(pa.float32()))])
    ).shape == (0, DIM)


def test_a_damaged_codec_is_refused(codec: LearnedCodec) -> None:
    other = LearnedCodec(codec.weights[1:], codec.bias, codec.tokens)
    for data in (b"none", other.to_bytes()):
        with pytest.raises(IntegrityError, match="codec of learnt vectors"):
            LearnedCodec.of(data)


def test_too_little_to_learn_of_is_refused() -> None:
    with pytest.raises(InputError, match="learns of 3 passages with 15 tokens"):
        fit_learned(texts([5, 5, 0, 5]), SETTINGS)


def test_it_is_made_of_token_vectors_alone() -> None:
    late = LateCard("m", "f", "w", "t", WIDTH, 32, 8, "", "", "fp32", 1.0, "fp16", True)
    one, other = (read_learned_card(LearnedSettings(dim=dim), late) for dim in (64, 128))
    assert (one.dim, other.dim) == (64, 128)
    assert one.fingerprint != other.fingerprint
    with pytest.raises(SettingsError, match="holds no token vectors"):
        read_learned_card(LearnedSettings(), Bm25Card("bm25", "f", "none", "keep"))
