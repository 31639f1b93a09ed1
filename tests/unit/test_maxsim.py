"""MaxSim is that of numpy, with the same bits in any batch and order."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Int64
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.token_vectors import TokenVectors, lists, vector_lists
from shardrank.index import maxsim
from shardrank.index.maxsim import StoredTokens, maxsim_of_column, maxsim_scores
from shardrank.kernels.residual_fit import ResidualPlan, fit_residuals
from shardrank.kernels.vectors import LANES


def _texts(sizes: list[int], dim: int, seed: int) -> TokenVectors:
    """Unit vectors, which fp16 holds exactly."""
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    drawn = np.random.default_rng(seed).standard_normal((ends[-1], dim)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True) + np.float32(1e-9)
    return TokenVectors(ends, drawn.astype(np.float16).astype(np.float32))


def _halves(texts: TokenVectors) -> StoredTokens:
    return StoredTokens.of(vector_lists(texts.ends, texts.vectors.astype(np.float16)))


def _all_pairs(queries: int, passages: int) -> tuple[Int64, Int64]:
    pairs = np.indices((queries, passages)).reshape(2, -1)
    return pairs[0], pairs[1]


def _expected(queries: TokenVectors, passages: TokenVectors, left: int, right: int) -> float:
    """Σ_i max_j q_i · d_j, in float64."""
    asked, held = (
        each.text(n).astype(np.float64) for each, n in ((queries, left), (passages, right))
    )
    return float((asked @ held.T).max(axis=1).sum()) if asked.size and held.size else np.nan


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3 * LANES), min_size=1, max_size=4),
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.integers(1, 70),
    st.integers(0, 1 << 30),
)
def test_maxsim_is_numpys(asked: list[int], held: list[int], dim: int, seed: int) -> None:
    queries, passages = _texts(asked, dim, seed), _texts(held, dim, seed + 1)
    left, right = _all_pairs(len(asked), len(held))
    wide = maxsim_scores(queries, passages, left, right)
    expected = [_expected(queries, passages, *pair) for pair in zip(left, right, strict=True)]
    np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(maxsim_scores(queries, _halves(passages), left, right), wide)


def test_the_same_bits_in_any_batch_and_order(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, passages = (
        _texts([32, 5, 48, 17, 33], 128, 1),
        _texts([1, 300, 11, 12, 13, 90], 128, 2),
    )
    left, right = _all_pairs(queries.rows, passages.rows)
    whole = maxsim_scores(queries, passages, left, right)
    order = np.random.default_rng(3).permutation(len(left))
    np.testing.assert_array_equal(
        maxsim_scores(queries, _halves(passages), left[order], right[order]), whole[order]
    )
    for pair in range(len(left)):
        alone = TokenVectors(np.array([0, len(queries.text(left[pair]))]), queries.text(left[pair]))
        one = maxsim_scores(alone, passages, np.zeros(1, np.int64), right[pair : pair + 1])
        np.testing.assert_array_equal(one, whole[pair : pair + 1])
    monkeypatch.setattr(maxsim, "_LAID", 1)  # a query at a time
    np.testing.assert_array_equal(maxsim_scores(queries, passages, left, right), whole)


def test_one_token_and_8192() -> None:
    queries, passages = _texts([1, 400], 24, 1), _texts([8192, 1], 24, 2)
    left, right = _all_pairs(2, 2)
    found = maxsim_scores(queries, _halves(passages), left, right)
    expected = [_expected(queries, passages, *pair) for pair in zip(left, right, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_products_below_zero() -> None:
    """What fills a tile takes no part."""
    queries, passages = _texts([3], 16, 1), _texts([2], 16, 2)
    queries, passages = (TokenVectors(t.ends, abs(t.vectors)) for t in (queries, passages))
    passages = TokenVectors(passages.ends, -passages.vectors)
    found = maxsim_scores(queries, passages, np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert found[0] == pytest.approx(_expected(queries, passages, 0, 0), rel=1e-5)
    assert found[0] < 0


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 20, 39])
def test_a_number_that_is_none_is_no_score(broken: float, place: int) -> None:
    passages, queries = _texts([40, 40], 32, 1), _texts([20, 20], 32, 2)
    passages.vectors[place, 7] = broken
    left, right = _all_pairs(2, 2)
    for held in (passages, _halves(passages)):
        found = maxsim_scores(queries, held, left, right)
        assert np.isnan(found[right == 0]).all()
        assert np.isfinite(found[right == 1]).all()
    queries.vectors[place, 7] = broken
    both = maxsim_scores(queries, _texts([40, 40], 32, 1), left, right)
    assert np.isnan(both[left == place // 20]).all()
    assert np.isfinite(both[left != place // 20]).all()


def test_nothing_to_compare_is_no_score() -> None:
    left, right = _all_pairs(2, 2)
    some = _texts([3, 0], 8, 1)
    found = maxsim_scores(some, _texts([2, 0], 8, 2), left, right)
    np.testing.assert_array_equal(np.isfinite(found), (left == 0) & (right == 0))
    assert np.isnan(maxsim_scores(some, _texts([0, 0], 8, 2), left, right)).all()
    assert not len(maxsim_scores(some, some, left[:0], right[:0]))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("dim", [16, 40])
def test_codes_are_compared_as_they_are_decoded(bits: int, dim: int) -> None:
    queries, passages = _texts([3, 7], dim, 1), _texts([5, 0, 30, 9, 12], dim, 2)
    codec = fit_residuals(_texts([900], dim, 3).vectors, ResidualPlan(bits, 8, normalise=True))
    codes = codec.encode(passages.vectors)
    kind = pa.binary(codec.width)
    values = pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, pa.py_buffer(codes)])
    column = pa.chunked_array([lists(passages.ends, values)])
    left, rows = _all_pairs(2, 5)
    decoded = TokenVectors(passages.ends, codec.decode(codes))
    expected = maxsim_scores(queries, decoded, left, rows)
    for some in (slice(None), slice(2, 9), rows != 2):
        given = (queries, column, codec.to_bytes(), left[some], rows[some])
        np.testing.assert_array_equal(maxsim_of_column(*given), expected[some])
    codes[40] = 255  # no number of a centroid
    with pytest.raises(IntegrityError, match="centroid 65535 of 8"):
        maxsim_of_column(queries, column, codec.to_bytes(), left, rows)


def test_a_cpu_that_does_not_widen_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the passages that have pairs are widened, a few at a time: the same bits."""
    queries, passages = _texts([3, 7], 16, 1), _texts([5, 0, 30, 9, 12, 800], 16, 2)
    left, right = _all_pairs(2, 6)
    expected = maxsim_scores(queries, passages, left, right)
    monkeypatch.setattr(maxsim, "widens_halves", lambda: False)
    for most in (1, 16 * 20, 1 << 20):
        monkeypatch.setattr(maxsim, "_WIDENED", most)
        for some in (slice(None), slice(2, 9), right == 3):
            found = maxsim_scores(queries, _halves(passages), left[some], right[some])
            np.testing.assert_array_equal(found, expected[some])


def test_what_widening_holds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxsim, "widens_halves", lambda: False)
    monkeypatch.setattr(maxsim, "_WIDENED", 1 << 14)
    queries, passages = _texts([4], 16, 1), _halves(_texts([64] * 256, 16, 2))
    left, right = _all_pairs(1, 256)
    maxsim_scores(queries, passages, left, right)  # loops are loaded
    tracemalloc.start()
    maxsim_scores(queries, passages, left, right)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < passages.vectors.nbytes / 2


def test_unlike_components_are_refused() -> None:
    with pytest.raises(InputError, match="have 8 components, and the passages' 9"):
        maxsim_scores(_texts([1], 8, 1), _texts([1], 9, 1), *_all_pairs(1, 1))


def test_a_sliced_column_and_nulls() -> None:
    texts = _texts([3, 0, 4, 2], 4, 1)
    column = vector_lists(texts.ends, texts.vectors.astype(np.float16))
    sliced = StoredTokens.of(pa.chunked_array([column.slice(1, 2)]))
    np.testing.assert_array_equal(sliced.ends, [0, 0, 4])
    np.testing.assert_array_equal(sliced.vectors, texts.text(2))
    with pytest.raises(IntegrityError, match="without a value"):
        StoredTokens.of(vector_lists(texts.ends, texts.vectors, np.array([0, 1, 0, 0], np.bool_)))
