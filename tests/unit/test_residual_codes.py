"""Codes of token vectors, and what they are of."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.centroids import centroid_count
from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.token_vectors import lists
from shardrank.kernels.residual_codes import (
    ResidualCodec,
    token_bytes,
    token_vectors,
)
from shardrank.kernels.residual_fit import (
    ResidualPlan,
    fit_residuals,
    levels,
)

RNG = np.random.default_rng(2)
CENTRES = RNG.standard_normal((60, 24))


def drawn(count: int) -> Float32:
    """Unit vectors around centres."""
    some = CENTRES[RNG.integers(len(CENTRES), size=count)]
    found = some + 0.5 * RNG.standard_normal((count, 24))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


SAMPLE, OTHERS = drawn(6000), drawn(700)


@pytest.fixture(scope="module", params=[1, 2, 4])
def codec(request: pytest.FixtureRequest) -> ResidualCodec:
    return fit_residuals(SAMPLE, ResidualPlan(request.param, 64, True))


def reference(codec: ResidualCodec, vectors: Float32) -> Float32:
    """As the paper says it, number by number."""
    exact = vectors.astype(np.float64) @ codec.centroids.astype(np.float64).T
    centres = codec.centroids[exact.argmax(axis=1)]
    left = vectors - centres
    codes = (left[:, :, None] > codec.cutoffs[None]).sum(axis=2)
    decoded = centres + np.take_along_axis(codec.weights[None], codes[:, :, None], 2)[:, :, 0]
    return (decoded / np.linalg.norm(decoded, axis=1, keepdims=True)).astype(np.float32)


def test_codes_are_as_the_paper_says(codec: ResidualCodec) -> None:
    found = codec.decode(codec.encode(OTHERS))
    np.testing.assert_allclose(found, reference(codec, OTHERS), atol=1e-6)


def test_more_bits_are_nearer() -> None:
    cosines = []
    for bits in (1, 2, 4):
        codec = fit_residuals(SAMPLE, ResidualPlan(bits, 64, True))
        assert (codec.bits, codec.width) == (bits, 2 + 24 * bits // 8)
        cosines.append(float((codec.decode(codec.encode(OTHERS)) * OTHERS).sum(axis=1).mean()))
    assert cosines[0] > 0.9
    assert all(one < other for one, other in pairwise(cosines))
    assert cosines[2] > 0.99


def test_any_batch_gives_the_same_bytes(codec: ResidualCodec) -> None:
    whole = codec.encode(OTHERS)
    np.testing.assert_array_equal(codec.encode(OTHERS[::-1])[::-1], whole)
    alone = np.concatenate([codec.encode(OTHERS[n : n + 1]) for n in range(100)])
    np.testing.assert_array_equal(alone, whole[:100])
    pieces = [codec.encode(OTHERS[a:b]) for a, b in pairwise([0, 3, 250, 513, 700])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(codec.decode(whole[5:6]), codec.decode(whole)[5:6])


def test_a_codec_is_kept_as_safetensors(codec: ResidualCodec) -> None:
    again = ResidualCodec.of(codec.to_bytes())
    assert again.to_bytes() == codec.to_bytes()
    codes = codec.encode(OTHERS)
    np.testing.assert_array_equal(again.decode(codes), codec.decode(codes))
    with pytest.raises(IntegrityError, match="no safetensors file"):
        ResidualCodec.of(codec.to_bytes()[:-9])
    with pytest.raises(IntegrityError, match="no safetensors file"):
        ResidualCodec.of(b"")


def test_equal_samples_give_equal_codecs() -> None:
    plan = ResidualPlan(2, None, True)
    assert fit_residuals(SAMPLE, plan).to_bytes() == fit_residuals(SAMPLE, plan).to_bytes()


def test_levels_are_where_the_error_is_least(codec: ResidualCodec) -> None:
    left = SAMPLE - codec.centroids[codec.nearest(SAMPLE)]

    def error(cutoffs: Float32, weights: Float32) -> float:
        codes = (left[:, :, None] > cutoffs[None]).sum(axis=2)
        kept = np.take_along_axis(weights[None], codes[:, :, None], 2)[:, :, 0]
        return float(np.square(left - kept).mean())

    count = 1 << codec.bits
    cuts = np.quantile(left, np.arange(1, count) / count, axis=0).T
    middles = np.quantile(left, (np.arange(count) + 0.5) / count, axis=0).T
    cutoffs, weights = levels(left, count)
    assert error(cutoffs, weights) < 0.97 * error(cuts, middles)
    assert (np.diff(cutoffs, axis=1) > 0).all()
    assert (np.diff(weights, axis=1) > 0).all()


def test_levels_of_few_values() -> None:
    cutoffs, weights = levels(np.array([[1, 5], [1, 7], [1, 9]], np.float32), 4)
    assert weights[0].tolist() == [1, 1, 1, 1]
    assert weights[1, [0, -1]].tolist() == [5, 9]
    assert (np.diff(cutoffs, axis=1) >= 0).all()


def test_lengths_are_kept_where_they_mean_something() -> None:
    longer = SAMPLE * RNG.uniform(0.5, 2, (len(SAMPLE), 1)).astype(np.float32)
    codec = fit_residuals(longer, ResidualPlan(4, 64, False))
    found = codec.decode(codec.encode(longer[:200]))
    assert abs(np.linalg.norm(found, axis=1) / np.linalg.norm(longer[:200], axis=1) - 1).max() < 0.3


@pytest.mark.parametrize(
    ("tokens", "count"), [(0, 1), (7, 1), (8, 1), (64, 8), (100, 8), (20_000, 2048)]
)
def test_how_many_centroids(tokens: int, count: int) -> None:
    assert centroid_count(tokens) == count
    assert centroid_count(1 << 18) == 8192


def test_more_than_65536_centroids_take_four_bytes() -> None:
    centroids = np.zeros(((1 << 16) + 1, 4), np.float32)
    centroids[-1] = 1
    cutoffs, weights = np.zeros((4, 3), np.float32), np.tile([-1, -0.5, 0.5, 1], (4, 1))
    codec = ResidualCodec(centroids, cutoffs, weights.astype(np.float32), False)
    codes = codec.encode(np.ones((1, 4), np.float32))
    assert (codec.width, codes[0, :4].tolist()) == (5, [0, 0, 1, 0])
    assert codec.decode(codes).tolist() == [[0, 0, 0, 0]]


def test_a_stored_column_is_decoded(codec: ResidualCodec) -> None:
    ends, codes = np.array([0, 2, 2, 5]), codec.encode(OTHERS[:5])
    held = pa.array([row.tobytes() for row in codes], pa.binary(codec.width))
    column = lists(ends, held)
    np.testing.assert_array_equal(token_bytes(column[2:]), codes[2:])
    found = token_vectors(column, codec.to_bytes())
    assert found.ends.tolist() == [0, 2, 2, 5]
    np.testing.assert_array_equal(found.vectors, codec.decode(codes))
    with pytest.raises(IntegrityError, match="no token vectors"):
        token_vectors(column, None)


def test_what_cannot_be_coded_is_refused(codec: ResidualCodec) -> None:
    broken = OTHERS.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="1 of 700 token vectors are not finite, first 3"):
        codec.encode(broken)
    with pytest.raises(InputError, match="24 components, and these have 12"):
        codec.encode(OTHERS[:, :12])
    with pytest.raises(InputError, match="not finite"):
        fit_residuals(broken, ResidualPlan(2, 4, True))
    with pytest.raises(InputError, match="has 5 token vectors, and codes have 64 centroids"):
        fit_residuals(OTHERS[:5], ResidualPlan(2, 64, True))
    with pytest.raises(InputError, match="has 0 token vectors"):
        fit_residuals(OTHERS[:0], ResidualPlan(2, None, True))


def test_damaged_codes_are_refused(codec: ResidualCodec) -> None:
    codes = codec.encode(OTHERS[:3])
    with pytest.raises(IntegrityError, match="bytes a token"):
        codec.decode(codes[:, 1:])
    codes[1, 0] = 64
    with pytest.raises(IntegrityError, match="centroid 64 of 64"):
        codec.decode(codes)
