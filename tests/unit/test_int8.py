"""Products of 8-bit numbers against the floats that they stand for."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.kernels.compiled import compiled
from shardrank.kernels.gelu_loops import bend_numbers, bend_sums
from shardrank.kernels.int8_loops import (
    expand,
    expand_bf16,
    expand_gelu,
    expand_norm,
    round_rows,
)
from shardrank.kernels.plane_loops import mix_planes, round_numbers
from shardrank.models.forward.int8 import Int8Linear
from shardrank.models.forward.linear import FloatLinear
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.products import int8_matrix

Sizes = st.sampled_from([1, 3, 8, 12, 48, 64, 384])


def normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def problem(seed: int, n: int, k: int, m: int) -> Any:
    """x [n, k], a weight [m, k] and a bias [m]."""
    return [torch.from_numpy(normal(seed + i, *s)) for i, s in enumerate([(n, k), (m, k), (m,)])]


def hadamard(planes: int) -> Any:
    """Sylvester's matrix, without its scale."""
    matrix = np.ones((1, 1))
    while len(matrix) < planes:
        matrix = np.kron([[1, 1], [1, -1]], matrix)
    return matrix


@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(1, 43), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_mixing_is_a_hadamard_transform_between_planes(
    seed: int, log: int, width: int, at: int
) -> None:
    """Each sum is that of neighbours, then of neighbours' neighbours, to the last bit."""
    size = width << log
    x, out = normal(seed, at + size), np.full(size + 3, 7, np.float32)
    expected = x[at:].copy()
    for half in (width << i for i in range(log)):
        pairs = expected.reshape(-1, 2, half)
        expected = np.stack([pairs.sum(1), pairs[:, 0] - pairs[:, 1]], 1).ravel()
    most = mix_planes(x, at, size, width, out)
    assert np.array_equal(out[:size], expected)
    assert (out[size:] == 7).all()
    assert np.array(most, np.int32).view(np.float32) == abs(expected).max()
    matrix = np.kron(hadamard(1 << log), np.eye(width))
    np.testing.assert_allclose(out[:size], matrix @ x[at:], atol=1e-4)


@compiled
def _round(row: Any, factor: float, out: Any, at: int) -> None:
    round_numbers(row, factor, out, at, len(row))


@given(st.lists(st.floats(-127, 127, width=32), max_size=70), st.sampled_from([0.25, 1.0]))
def test_numbers_are_rounded_to_the_nearest(values: list[float], factor: float) -> None:
    row, out = np.array([*values, np.nan], np.float32), np.full(len(values) + 4, 99, np.int8)
    _round(row, factor, out, 2)
    assert np.array_equal(out[2:-2], np.rint(row[:-1] * np.float32(factor)))
    assert out[-2] == 0  # of no number
    assert (out[[0, 1, -1]] == 99).all()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 4), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_rows_are_rounded_to_the_nearest_step(seed: int, n: int, log: int, width: int) -> None:
    rows = normal(seed, n, width << log)
    rows[0] *= 1e-6
    small, scales = np.empty(rows.shape, np.int8), np.empty(n, np.float32)
    round_rows(rows, width, small, scales)
    mixed = rows @ np.kron(hadamard(1 << log), np.eye(width)).astype(np.float32)
    assert (abs(small * scales[:, None] - mixed) <= 0.501 * scales[:, None] + 1e-12).all()
    assert (abs(small).max(axis=1) == 127).all()


def test_a_row_of_zeros_is_zeros() -> None:
    small, scales = np.ones((1, 8), np.int8), np.ones(1, np.float32)
    round_rows(np.zeros((1, 8), np.float32), 1, small, scales)
    assert not small.any()
    assert scales[0] == 0


@compiled
def _bend(x: Any) -> None:
    bend_numbers(x, len(x))


def test_gelu_far_from_zero() -> None:
    x = np.array([-np.inf, -1e30, -1e3, -6, -5, -4.9, 0, 4.9, 6, 1e3, 1e30, np.nan] * 3, np.float32)
    found, expected = x.copy(), torch.nn.functional.gelu(torch.from_numpy(x).double()).numpy()
    _bend(found)
    expected[np.isneginf(x)] = 0  # torch makes NaN of it
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=2.3e-6)


@compiled
def _bend_whole(x: Any, bias: Any) -> None:
    bend_sums(x, 3, bias, len(bias))


def test_gelu_as_exact_as_float32() -> None:
    x = np.linspace(-9, 9, 9001, dtype=np.float32)
    x[:3] = np.nan, -np.inf, np.inf
    found, bias = np.concatenate([[7, 7, 7], x], dtype=np.float32), np.full_like(x, 0.25)
    _bend_whole(found, bias)
    expected = torch.nn.functional.gelu(torch.from_numpy(x + bias).double()).numpy()
    expected[1] = 0  # torch makes NaN of it
    assert (found[:3] == 7).all()
    np.testing.assert_allclose(found[3:6], expected[:3], atol=1e-6)
    off = abs(found[6:] - expected[3:])
    assert (off <= 1.3e-7 * (1 + abs(x[3:] + bias[3:]))).all()


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_expanding_is_the_formula(seed: int, n: int, m: int) -> None:
    products = np.random.default_rng(seed).integers(-(10**6), 10**6, (n, m)).astype(np.int32)
    rows, columns, bias = abs(normal(seed, n)) * 1e-3, abs(normal(seed, m)) * 1e-2, normal(seed, m)
    expected = products * (rows[:, None] * columns) + bias
    plain, bent = np.empty((n, m), np.float32), np.empty((n, m), np.float32)
    expand(products, rows, columns, bias, plain)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5)
    expand_gelu(products, rows, columns, bias, bent)
    gelu = torch.nn.functional.gelu(torch.from_numpy(plain)).numpy()
    assert (abs(bent - gelu) <= 3e-7 * abs(plain) + 3e-6).all()
    short = np.empty((n, m), np.uint16)
    expand_bf16(products, rows, columns, bias, short)
    rounded = torch.from_numpy(plain).bfloat16()
    assert torch.equal(torch.from_numpy(short).view(torch.bfloat16), rounded)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(2, 70))
@settings(max_examples=60, deadline=None)
def test_what_is_added_to_the_stream_is_normalised(seed: int, n: int, m: int) -> None:
    products = np.random.default_rng(seed).integers(-(10**6), 10**6, (n, m)).astype(np.int32)
    rows, columns, bias = abs(normal(seed, n)) * 1e-3, abs(normal(seed, m)) * 1e-2, normal(seed, m)
    stream, weight, shift = normal(seed + 1, n, m), normal(seed + 2, m), normal(seed + 3, m)
    found, plain = np.empty((n, m), np.float32), np.empty((n, m), np.float32)
    expand_norm(products, rows, columns, bias, stream, (weight, shift, 1e-5), found)
    expand(products, rows, columns, bias, plain)
    norm = Norm(torch.from_numpy(weight), torch.from_numpy(shift), 1e-5)
    expected = norm(torch.from_numpy(stream + plain)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10**6), st.integers(1, 20), Sizes, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_map_is_near_its_float(seed: int, n: int, k: int, m: int) -> None:
    x, weight, bias = problem(seed, n, k, m)
    found, expected = Int8Linear.of(weight, bias)(x), FloatLinear(weight, bias)(x)
    # Half a step in each of k terms, at most 1/127 of a row's length: far below that as a rule.
    bound = 0.02 * x.norm(dim=1, keepdim=True) * weight.norm(dim=1) + 1e-5
    assert ((found - expected).abs() <= bound).all()


def test_an_outlier_does_not_drown_the_rest() -> None:
    """One large component, as transformers have them, would set the scale of a whole row."""
    x, weight, bias = problem(1, 64, 384, 32)
    x[:, 7] *= 60
    scales = weight.abs().amax(1) / 127
    small = (weight / scales[:, None]).round().to(torch.int8)
    unmixed = Int8Linear(int8_matrix(small.numpy()), scales.numpy(), bias.numpy(), width=384)
    expected = FloatLinear(weight, bias)(x)
    error, without = (
        (maps(x) - expected).square().mean() for maps in (Int8Linear.of(weight, bias), unmixed)
    )
    assert error < without / 4


def test_a_part_is_some_of_the_outputs() -> None:
    x, weight, bias = problem(0, 5, 48, 30)
    whole = Int8Linear.of(weight, bias)
    assert torch.equal(whole.part(10, 20)(x), whole(x)[:, 10:20])
    assert torch.equal(whole.part(20, None).gelu(x), whole.gelu(x)[:, 20:])


@given(st.integers(0, 10**6), st.integers(1, 9), Sizes, st.sampled_from([1, 6, 48, 96]))
@settings(max_examples=40, deadline=None)
def test_one_map_feeds_another(seed: int, n: int, k: int, m: int) -> None:
    """To the last bit as if each were alone."""
    x, weight, bias = problem(seed, n, k, m)
    up, down = Int8Linear.of(weight, bias), Int8Linear.of(weight.T.contiguous(), None)
    norm = Norm(torch.ones(k), torch.zeros(k), 1e-5)
    assert torch.equal(up.feed(x, down, x, norm), down.added(up.gelu(x), x, norm))
    gates, own, other = Int8Linear.of(weight.repeat(2, 1), None), x.clone(), x.clone()
    found = gates.gate(x, down, own, norm)
    assert torch.equal(found, down.joined(gates.gated(x), other, norm))
    assert torch.equal(own, other)


def test_a_row_is_the_same_among_any_others() -> None:
    """There are more rows than are multiplied at once."""
    x, weight, bias = problem(0, 300, 64, 96)
    maps, norm = Int8Linear.of(weight, bias), Norm(torch.ones(64), torch.zeros(64), 1e-5)
    down, some = Int8Linear.of(weight.T.contiguous(), None), slice(130, 150)
    half = Int8Linear.of(weight.repeat(2, 1), None)
    for whole, alone in (
        (maps(x), maps(x[some])),
        (maps.gated(x), maps.gated(x[some])),
        (maps.feed(x, down, x, norm), maps.feed(x[some], down, x[some], norm)),
        (down.added(maps(x), x, norm), down.added(maps(x[some]), x[some], norm)),
        (half.gate(x, down, x.clone(), norm), half.gate(x[some], down, x[some].clone(), norm)),
        (down.joined(maps(x), x.clone(), norm), down.joined(maps(x[some]), x[some].clone(), norm)),
    ):
        assert torch.equal(whole[some], alone)


@pytest.mark.parametrize("shortens", [True, False])
def test_what_attends_is_in_bf16_where_the_cpu_multiplies_it(
    shortens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = problem(0, 5, 48, 30)
    monkeypatch.setattr("shardrank.models.forward.int8.attends_in_bf16", lambda: shortens)
    maps = Int8Linear.of(weight, bias)
    found, expected = maps.attended(x), maps(x)
    assert torch.equal(found, expected.bfloat16() if shortens else expected)
