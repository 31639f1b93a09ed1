"""Binary codes: what is packed, what is fitted, and the search over all of them."""

from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrow_columns import vector_column
from shardrank.core.bit_codes import BitsCodec, code_values, packed
from shardrank.core.bits_settings import BitsSettings
from shardrank.core.errors import InputError, IntegrityError
from shardrank.index import binary
from shardrank.index.best_rows import CompiledSelector
from shardrank.index.binary import BinaryShard, nearest_codes, words
from shardrank.index.documents import DocumentSearch, Reach
from shardrank.kernels.hamming_loops import CODES
from shardrank.kernels.rotation_loops import centred
from shardrank.models.encoders.bit_fitting import fit_bits
from shardrank.models.encoders.bits import BitEncoder
from shardrank.models.forward.products import int8_product

WAYS = [*product((1, 2), ("none", "random", "itq"), ("vectors", "codes"))]


def drawn(seed: int, rows: int, width: int, low: int = 0, high: int = 256) -> Any:
    return np.random.default_rng(seed).integers(low, high, (rows, width), np.uint8)


def plainly(queries: Any, codes: Any, depth: int) -> Any:
    """By going through every pair."""
    differ = np.bitwise_count(queries[:, None] ^ codes[None]).sum(axis=2, dtype=np.int64)
    order = np.argsort(differ, axis=1, kind="stable")[:, :depth]
    out = np.full((len(queries), depth), -1, np.int64)
    out[:, : order.shape[1]] = order
    return out


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(0, 3 * CODES + 1),
    st.integers(1, 40),
    st.integers(1, 50),
    st.sampled_from([2, 4, 256]),
)
@settings(max_examples=60, deadline=None)
def test_the_nearest_codes(seed: int, q: int, n: int, width: int, depth: int, high: int) -> None:
    """Few different codes: most distances tie, and the lower position comes first."""
    queries, codes = drawn(seed, q, width, high=high), drawn(seed + 1, n, width, high=high)
    found = nearest_codes(words(queries), words(codes), depth)
    assert np.array_equal(found, plainly(queries, codes, depth))


def test_buffers_that_are_cut_and_blocks_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, codes = drawn(0, 50, 24), drawn(1, 9000, 24)
    expected = plainly(queries, codes, 7)
    assert np.array_equal(nearest_codes(words(queries), words(codes), 7), expected)
    monkeypatch.setattr(binary, "_QUERY_BYTES", 7 * 24)
    assert np.array_equal(nearest_codes(words(queries), words(codes), 7), expected)


def vectors(seed: int, rows: int, dim: int) -> Any:
    random = np.random.default_rng(seed)
    return (random.standard_normal((rows, dim)) + 0.3).astype(np.float32)


def fitted(dim: int, bits: int = 1, rotation: Any = "random", asked: Any = "vectors") -> BitsCodec:
    sample = vectors(9, 3 * dim, dim)
    return BitsCodec.of(fit_bits(sample, BitsSettings(bits=bits, rotation=rotation, asked=asked)))


@pytest.mark.parametrize("dim", [1, 8, 30, 65])
@pytest.mark.parametrize(("bits", "rotation", "asked"), WAYS)
def test_codes_say_signs_and_what_they_leave(
    bits: int, rotation: str, asked: str, dim: int
) -> None:
    codec, given_ = fitted(dim, bits, rotation, asked), vectors(0, 20, dim)
    codes = packed(centred(given_, codec.mean, codec.axes), codec)
    assert codes.shape == (20, bits * -(-dim // 8)) == (20, codec.code_bytes)
    values = (given_ - codec.mean) @ (np.eye(dim) if codec.axes is None else codec.axes.T)
    signs = np.where(values >= 0, 1, -1)
    expected = signs
    if bits == 2:
        expected = 2 * signs + np.where(values - signs * codec.steps >= 0, 1, -1)
    agree = code_values(codes, dim, bits) == expected
    assert agree.mean() > 0.999  # a sum of other order may have another sign next to 0


@pytest.mark.parametrize("rotation", ["random", "itq"])
def test_axes_are_orthonormal(rotation: str) -> None:
    axes = fitted(40, 1, rotation).axes
    assert axes is not None
    assert np.allclose(axes @ axes.T, np.eye(40), atol=1e-5)


def test_itq_brings_vectors_nearer_to_their_signs() -> None:
    sample = vectors(0, 400, 16) * np.linspace(3, 0.1, 16, dtype=np.float32)

    def lost(rotation: Any) -> float:
        codec = BitsCodec.of(fit_bits(sample, BitsSettings(rotation=rotation)))
        values = centred(sample, codec.mean, codec.axes)
        return float(np.square(np.sign(values) - values).sum())

    assert lost("itq") < 0.99 * lost("random") < 0.99 * lost("none")


def test_a_second_bit_loses_less() -> None:
    """Of normal numbers a bit loses 1 - 2/π, four even levels .1188 (Max, 1960)."""
    sample = np.random.default_rng(0).standard_normal((20_000, 4)).astype(np.float32)
    for bits, least in ((1, 1 - 2 / np.pi), (2, 0.1188)):
        codec = BitsCodec.of(fit_bits(sample, BitsSettings(bits=bits, rotation="none")))
        codes = code_values(packed(sample - codec.mean, codec), 4, bits)
        made = codec.mean + codec.steps * codes / bits
        assert np.square(made - sample).mean() == pytest.approx(least, abs=0.01)


@pytest.mark.parametrize("rotation", ["none", "random", "itq"])
def test_what_is_fitted_depends_on_the_sample_alone(rotation: Any) -> None:
    sample, wanted = vectors(0, 100, 24), BitsSettings(rotation=rotation, bits=2)
    data = fit_bits(sample, wanted)
    assert fit_bits(np.asfortranarray(sample), wanted) == data
    assert BitsCodec.of(data).to_bytes() == data


def test_constant_vectors() -> None:
    for bits, rotation, asked in WAYS:
        wanted = BitsSettings(bits=bits, rotation=rotation, asked=asked)
        codec = BitsCodec.of(fit_bits(np.full((20, 12), 0.5, np.float32), wanted))
        assert np.isfinite(codec.steps).all()
        shard = shard_of(codec, np.full((5, 12), 0.5, np.float32))
        found = shard.search(np.full((1, 12), 0.5, np.float32), 1, 9)
        assert found.tolist() == [[0, 1, 2, 3, 4, -1, -1, -1, -1]]


def test_samples_that_do_not_do() -> None:
    sample = vectors(0, 20, 24)
    with pytest.raises(InputError, match=r"20 vectors; of 24 components rotation = itq needs 24"):
        fit_bits(sample, BitsSettings())
    with pytest.raises(InputError, match="fitted on 0 vectors"):
        fit_bits(sample[:0], BitsSettings(rotation="none"))
    sample[3, 5] = np.nan
    with pytest.raises(InputError, match=r"1 of 20 vectors .* not finite, first 3"):
        fit_bits(sample, BitsSettings(rotation="none"))


@pytest.mark.parametrize("data", [b"", b"12345678", BitsSettings().name.encode() * 9])
def test_damaged_codecs(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="codec of binary codes"):
        BitsCodec.of(data)


def test_a_codec_whose_tensors_do_not_fit() -> None:
    made = fitted(8)
    for broken in (
        BitsCodec(made.mean, made.axes, made.steps[:3], 1, False),
        BitsCodec(made.mean[:3], made.axes, made.steps[:3], 1, False),
        BitsCodec(made.mean, made.axes, made.steps, 3, False),
    ):
        with pytest.raises(IntegrityError, match="do not belong together"):
            BitsCodec.of(broken.to_bytes())


def encoded(codec: BitsCodec, given_: Any) -> pa.Array:
    return BitEncoder("bits", codec).column(vector_column(given_))


def shard_of(codec: BitsCodec, *parts: Any) -> BinaryShard:
    selector = CompiledSelector(int8_product)
    return BinaryShard(codec, [encoded(codec, part) for part in parts], selector)


@pytest.mark.parametrize("stored", [np.float16, np.float32])
def test_a_column_is_the_same_in_any_batch(stored: Any) -> None:
    codec, given_ = fitted(30, 2), vectors(1, 41, 30).astype(stored)
    whole = encoded(codec, given_)
    assert whole.type == pa.binary(8)
    pieces = [encoded(codec, given_[i : i + 7]) for i in range(0, 41, 7)]
    assert whole.equals(pa.concat_arrays(pieces))
    assert encoded(codec, given_[:0]).equals(pa.array([], pa.binary(8)))


def test_a_column_of_what_is_not_finite_is_refused() -> None:
    given_ = vectors(0, 5, 30)
    given_[2, 2] = np.inf
    with pytest.raises(InputError, match="'bits' reads gives 1 of 150 numbers that are NaN"):
        encoded(fitted(30), given_)


def test_queries_are_their_vectors() -> None:
    given_ = vectors(0, 3, 30)
    made = BitEncoder("bits", fitted(30)).queries(vector_column(given_))
    assert made.equals(vector_column(given_))


@pytest.mark.parametrize(("bits", "rotation", "asked"), WAYS)
def test_a_shard_orders_by_what_codes_stand_for(bits: int, rotation: str, asked: str) -> None:
    codec = fitted(30, bits, rotation, asked)
    stored, queries = vectors(2, 300, 30), vectors(3, 9, 30)
    shard = shard_of(codec, stored[:100], stored[100:])
    assert (shard.size, shard.nlist) == (300, 1)
    live = np.random.default_rng(0).random(300) < 0.7
    found = shard.search(queries, 1, 250, live)
    values = code_values(packed(centred(stored, codec.mean, codec.axes), codec), 30, bits)
    turned = centred(queries, np.zeros(30, np.float32), codec.axes)  # q·m is the same for all
    if asked == "codes":
        ratio = np.linalg.norm(codec.steps) / np.linalg.norm(turned, axis=1, keepdims=True)
        own = code_values(packed(turned * ratio, codec), 30, bits)
    else:
        turned = turned * codec.steps
        own = np.rint(turned * (127 / np.abs(turned).max(axis=1, keepdims=True)))
    scores = own.astype(np.int64) @ values.T.astype(np.int64)
    scores[:, ~live] = -(10**9)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :250]
    assert np.array_equal(found[:, : live.sum()], expected[:, : live.sum()])
    assert (found[:, live.sum() :] == -1).all()
    assert np.array_equal(shard.search(queries[4:5], 1, 250, live), found[4:5])


def test_a_gpu_would_find_the_same() -> None:
    """There codes are compared by products, too: a distance and a product order alike."""
    codec, stored = fitted(30, 1, "none", "codes"), vectors(2, 500, 30)
    shard, queries = shard_of(codec, stored), vectors(3, 9, 30)
    own = code_values(packed(queries, codec), 30, 1)
    codes = packed(centred(stored, codec.mean, None), codec)
    assert np.array_equal(shard._by_products(own, codes, 50), shard.search(queries, 1, 50))


def test_codes_of_another_length_are_refused() -> None:
    codec, other = fitted(30), fitted(30, 2)
    with pytest.raises(IntegrityError, match=r"fixed_size_binary\[8\].*4 bytes"):
        BinaryShard(codec, [encoded(other, vectors(0, 3, 30))], CompiledSelector(int8_product))


def test_a_sliced_column() -> None:
    codec, stored = fitted(30), vectors(0, 50, 30)
    sliced = BinaryShard(
        codec, [encoded(codec, stored).slice(7, 20)], CompiledSelector(int8_product)
    )
    queries = vectors(1, 4, 30)
    expected = shard_of(codec, stored[7:27]).search(queries, 1, 20)
    assert np.array_equal(sliced.search(queries, 1, 20), expected)


def test_a_shard_of_nothing() -> None:
    codec = fitted(30)
    nothing = BinaryShard(codec, [pa.array([], pa.binary(4))], CompiledSelector(int8_product))
    assert nothing.search(vectors(1, 2, 30), 1, 3).tolist() == [[-1] * 3] * 2


def test_documents_are_counted() -> None:
    """Every query meets as many documents as it is to, and none that is deleted."""
    codec, stored = fitted(30), vectors(2, 600, 30)
    documents = np.repeat(np.arange(100, dtype=np.int32), 6)
    live = np.repeat(np.random.default_rng(1).random(100) < 0.5, 6)
    search = DocumentSearch(shard_of(codec, stored), documents, live)
    found = search.find(vectors(3, 8, 30), Reach(1, 20, 20))
    for query in range(8):
        met = documents[found.of(query, query + 1).positions]
        assert len(np.unique(met)) == 20
        assert live[found.of(query, query + 1).positions].all()
