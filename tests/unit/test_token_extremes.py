"""Passages without a token, of one, and of 8,192, wherever token vectors go; and vectors that are
no numbers."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix, refuse_not_finite
from shardrank.core.errors import InputError
from shardrank.core.muvera_settings import MuveraSettings
from shardrank.core.protocols import ColumnEncoder
from shardrank.core.token_vectors import TokenVectors, lists
from shardrank.index.maxsim import maxsim_of_column
from shardrank.index.plaid import CentroidLists, PlaidShard, build_plaid
from shardrank.index.query_pooling import pooled_queries
from shardrank.kernels.residual_codes import token_vectors
from shardrank.kernels.residual_fit import ResidualPlan, fit_residuals
from shardrank.models.encoders.learned import Learned, LearnedCodec
from shardrank.models.encoders.muvera import Muvera
from shardrank.models.encoders.token_pooling import pooled, pooled_sizes
from shardrank.models.folder.late_modules import TokenPooling

SIZES, DIM = (0, 8192, 1), 8
MUVERA = MuveraSettings(repetitions=2, planes=3, inner=5, dim=None)


def drawn(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> TokenVectors:
    """Unit vectors, which fp16 holds exactly."""
    ends = np.cumsum([0, *sizes], dtype=np.int64)
    found = np.random.default_rng(seed).standard_normal((ends[-1], DIM))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return TokenVectors(ends, found.astype(np.float16).astype(np.float32))


def maxsim(query: Float32, passage: Float32) -> float:
    return float((query @ passage.T).max(axis=1).sum()) if len(passage) else np.nan


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_codes_and_maxsim(bits: int) -> None:
    passages, queries = drawn(), drawn((5,), seed=1)
    codec = fit_residuals(drawn((600,), seed=2).vectors, ResidualPlan(bits, 8, normalise=True))
    codes = codec.encode(passages.vectors)
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(codec.width), len(codes), [None, pa.py_buffer(codes)]
    )
    column = lists(passages.ends, values)
    decoded = token_vectors(column, codec.to_bytes())
    assert np.diff(decoded.ends).tolist() == [*SIZES]
    given = (pa.chunked_array([column]), codec.to_bytes(), np.zeros(3, np.int32))
    found = maxsim_of_column(queries, *given, np.arange(3, dtype=np.int32))
    wanted = [maxsim(queries.vectors, decoded.text(row)) for row in range(3)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_plaid() -> None:
    """Every passage with a token is met, each by its best centroids."""
    passages, queries = drawn(), drawn((5,), seed=1)
    centroids = drawn((16,), seed=3).vectors
    numbers = (passages.vectors @ centroids.T).argmax(axis=1)
    data = build_plaid([(np.arange(3), passages.ends, numbers)], 3, 16)
    shard = PlaidShard(CentroidLists.load(data), centroids, lambda a, b: a.astype(int) @ b.T)
    assert shard.search(queries, 16, 3).tolist() == [[1, 2, -1]]
    assert shard.search(queries, 1, 3)[0, 0] == 1


def made(encoder: ColumnEncoder, tokens: TokenVectors) -> Float32:
    return matrix(pa.chunked_array([encoder.column(tokens.array(pa.float16()))]))


def test_muvera() -> None:
    passages, encoder = drawn(), Muvera(MUVERA, DIM, None)
    none, many, one = (row.reshape(2, 8, 5) for row in made(encoder, passages))
    assert not none.any()
    for number, space in enumerate(encoder.spaces):
        assert space.projection is not None
        cells = (passages.vectors @ space.planes > 0) @ (1 << np.arange(3))
        projected = passages.vectors @ space.projection
        for cell in range(8):
            mean = projected[:8192][cells[:8192] == cell].mean(axis=0)
            np.testing.assert_allclose(many[number, cell], mean, atol=2e-3)
            np.testing.assert_allclose(one[number, cell], projected[8192], atol=2e-3)


def learnt() -> Learned:
    draw = np.random.default_rng(4)
    weights, bias = draw.standard_normal((DIM, 15)), draw.standard_normal(15)
    tokens = drawn((64,), seed=5).vectors
    return Learned(LearnedCodec(weights.astype(np.float32), bias.astype(np.float32), tokens), None)


def test_learnt() -> None:
    passages, encoder = drawn(), learnt()
    found = made(encoder, passages)
    assert not found[0].any()
    for row in (1, 2):
        largest = (encoder.codec.tokens @ passages.text(row).T).max(axis=1)
        np.testing.assert_allclose(found[row], encoder.codec.solver @ largest, atol=2e-2)


@pytest.mark.parametrize("encoder", [Muvera(MUVERA, DIM, None), learnt()], ids=["muvera", "learnt"])
def test_what_is_made_of_numbers_that_are_none_is_refused(encoder: Any) -> None:
    passages = drawn((3, 4))
    passages.vectors[5, 2] = np.nan
    for column in (encoder.column, encoder.queries):
        with pytest.raises(InputError, match="numbers that are NaN or infinite"):
            refuse_not_finite(column(passages.array(pa.float32())), "It", "passages")


def test_fewer_vectors_of_a_query() -> None:
    found = pooled_queries(drawn((0, 512, 1)), 512)
    assert np.diff(found.ends).tolist() == [0, 1, 1]
    np.testing.assert_allclose(found.text(1)[0], drawn((0, 512, 1)).text(1).sum(axis=0), atol=1e-4)


@pytest.mark.slow
def test_fewer_vectors_of_a_long_passage() -> None:
    """All pairs of 8,192 tokens are compared, in .8 GB."""
    passages, pooling = drawn(), TokenPooling(4, 1)
    found = pooled(passages.vectors, np.array(SIZES), pooling, normalise=False)
    assert pooled_sizes(np.array(SIZES), pooling).tolist() == [0, 1 + 8191 // 4, 1]
    assert len(found) == 2 + 8191 // 4
    np.testing.assert_array_equal(found[-1], passages.vectors[-1])
