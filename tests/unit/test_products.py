"""Products of 8-bit matrices: every way that a CPU may take gives the same whole numbers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.core.arrays import Int8, Int32
from shardrank.core.protocols import Int8Product
from shardrank.kernels.pair_products import _TILE_BYTES, pair_product
from shardrank.models.forward import products
from shardrank.models.forward.products import (
    LaidOutMatrix,
    PlainMatrix,
    chosen_product,
    float_product,
    int8_matrix,
    int8_product,
)
from tests.cpus import without_vnni

WAYS: tuple[Int8Product, ...] = (int8_product, pair_product, float_product)
Rows, Components = st.integers(0, 40), st.integers(0, 70)
Extremes = st.sampled_from([(-128, 128), (-128, -127), (127, 128), (-1, 2), (-127, 128)])


def plain_product(left: Int8, right: Int8) -> Int32:
    wide: Int32 = (left.astype(np.int64) @ right.astype(np.int64).T).astype(np.int32)
    return wide


def drawn(seed: int, rows: int, d: int, low: int = -128, high: int = 128) -> Int8:
    numbers: Int8 = np.random.default_rng(seed).integers(low, high, (rows, d)).astype(np.int8)
    return numbers


def agree(left: Int8, right: Int8) -> None:
    expected = plain_product(left, right)
    for product in WAYS:
        found = product(left, right)
        assert (found.dtype, found.flags.c_contiguous) == (np.int32, True)
        assert np.array_equal(found, expected), product


@pytest.fixture(autouse=True)
def chosen_anew() -> Iterator[None]:
    chosen_product.cache_clear()
    yield
    chosen_product.cache_clear()


@given(st.integers(0, 10**6), Rows, Rows, Components, Extremes)
@settings(max_examples=200)
def test_the_product_is_exact(seed: int, q: int, n: int, d: int, numbers: tuple[int, int]) -> None:
    agree(drawn(seed, q, d, *numbers), drawn(seed + 1, n, d, *numbers))


@pytest.mark.parametrize("d", [1024, 1025, 4096])
def test_the_largest_sums_are_exact(d: int) -> None:
    left, right = np.full((2, d), 127, np.int8), np.full((3, d), -128, np.int8)
    right[:, -1] = 1  # an odd sum, which float32 rounds beyond 2^24
    agree(left, right)
    agree(right, right)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 19, 20, 21, 40, 41, 301])
@pytest.mark.parametrize("q", [1, 2, 3, 64])
def test_edges_of_tiles_and_blocks(q: int, n: int) -> None:
    """A tile is 20 rows of 384 components."""
    assert _TILE_BYTES // (2 * 384) // 4 * 4 == 20
    agree(drawn(q, q, 384), drawn(n, n, 384))


def test_a_row_that_fills_a_tile() -> None:
    agree(drawn(0, 3, _TILE_BYTES), drawn(1, 9, _TILE_BYTES))


def test_rows_that_lie_apart_or_may_not_be_written() -> None:
    left, right = drawn(0, 10, 48)[::2], drawn(1, 7, 96)[:, ::2]
    right.flags.writeable = False
    assert np.array_equal(pair_product(left, right), plain_product(left, right))


def test_a_cpu_with_vnni_takes_torch() -> None:
    if not products.has_vnni() or not products._adds_in_32_bits():
        pytest.skip("this CPU has no VNNI, or may not use it")
    assert chosen_product() is products.torch_product


def test_a_cpu_without_vnni_never_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose product is exact there, but a scalar loop."""
    monkeypatch.setattr("torch._int_mm", refuse)
    with without_vnni():
        assert chosen_product() is pair_product
        assert np.array_equal(int8_product(*pair()), plain_product(*pair()))


def test_a_torch_that_adds_in_16_bits_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardrank.models.forward.products.has_vnni", lambda: True)
    monkeypatch.setattr("shardrank.models.forward.products.torch_product", saturated)
    assert np.array_equal(int8_product(*pair()), plain_product(*pair()))


@pytest.mark.parametrize("slow", [pair_product, float_product])
def test_what_is_no_x86_takes_the_faster(
    slow: Int8Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = iter([0.0, 9.0, 9.0, 10.0] if slow is pair_product else [0.0, 1.0, 1.0, 10.0])
    monkeypatch.setattr("shardrank.models.forward.products.perf_counter", lambda: next(passed))
    with without_vnni(x86=False):
        assert chosen_product() in {pair_product, float_product} - {slow}
        assert np.array_equal(int8_product(*pair()), plain_product(*pair()))


@given(
    st.integers(0, 10**6), st.integers(0, 20), st.integers(64, 200), st.integers(1, 300), Extremes
)
@settings(max_examples=60, deadline=None)
def test_a_matrix_that_is_laid_out(
    seed: int, n: int, m: int, quads: int, numbers: tuple[int, int]
) -> None:
    """The last columns and components fill no tile."""
    left, right = drawn(seed, n, 4 * quads, *numbers), drawn(seed + 1, m, 4 * quads, *numbers)
    matrix = int8_matrix(right)
    if not isinstance(matrix, LaidOutMatrix):
        pytest.skip("this CPU has no AVX-512 VNNI, or AMX")
    found = matrix.products(left)
    assert (found.dtype, found.flags.c_contiguous) == (np.int32, True)
    assert np.array_equal(found, plain_product(left, right))
    for begin, end in ((0, 64), (m - 64, None), (5, 9)):
        part = matrix.part(begin, end).products(left)
        assert np.array_equal(part, plain_product(left, right[begin:end]))


@pytest.mark.parametrize(("m", "k"), [(63, 48), (64, 46)])
def test_a_matrix_too_small_to_lay_out(m: int, k: int) -> None:
    matrix = int8_matrix(drawn(0, m, k))
    assert isinstance(matrix, PlainMatrix)
    assert np.array_equal(
        matrix.products(drawn(1, 9, k)), plain_product(drawn(1, 9, k), drawn(0, m, k))
    )


def test_a_cpu_without_vnni_lays_nothing_out() -> None:
    with without_vnni():
        assert isinstance(int8_matrix(drawn(0, 64, 48)), PlainMatrix)


def pair() -> tuple[Int8, Int8]:
    return drawn(0, 9, 48), drawn(1, 7, 48)


def refuse(*given: Any) -> Any:
    raise AssertionError("torch's product was asked for")


def saturated(left: Int8, right: Int8) -> Int32:
    return np.clip(plain_product(left, right), -(2**15), 2**15 - 1)
