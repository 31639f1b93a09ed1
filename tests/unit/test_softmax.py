"""Softmax over rows of bf16, and the attention around it, against torch in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.models.attention import attend
from pipelines.models.bf16 import narrow, widen
from pipelines.models.softmax import LANES, softmax_rows
from tests.unit.test_packed import Lengths, attended, batch


def bits_of(x: torch.Tensor) -> Any:
    return x.bfloat16().view(torch.uint16).numpy()


def floats_of(bits: Any) -> torch.Tensor:
    return torch.from_numpy(bits).view(torch.bfloat16).double()


@given(
    st.integers(0, 10**6),
    st.integers(0, 20),
    st.integers(1, 70),
    st.sampled_from([0.01, 1.0, 50.0, 1e4]),
)
@settings(max_examples=80, deadline=None)
def test_rows_become_their_softmax(seed: int, n: int, length: int, spread: float) -> None:
    torch.manual_seed(seed)
    x = torch.randn(n, length + -length % LANES).mul(spread).bfloat16()
    bits = bits_of(x.clone())
    softmax_rows(bits, length, 0.25)
    expected = (x[:, :length].double() * 0.25).softmax(1)
    found = floats_of(bits)
    torch.testing.assert_close(found[:, :length], expected, rtol=5e-3, atol=1e-6)
    assert not found[:, length:].any()


@pytest.mark.parametrize("shared", [-3e38, -200.0, 0.0, 1e30])
def test_equal_numbers_share(shared: float) -> None:
    """However far they lie from 0: only what stands after the length could be larger."""
    bits = bits_of(torch.full((9, 16), shared))
    bits[:, 5:] = bits_of(torch.tensor([3e38]))
    softmax_rows(bits, 5, 0.5)
    assert np.allclose(floats_of(bits)[:, :5], 0.2, rtol=4e-3)


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=70))
def test_bf16_is_the_nearest(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    short, back = np.empty(len(x), np.uint16), np.empty(len(x), np.int32)
    narrow(x.view(torch.int32).numpy(), short)
    widen(short, back)
    assert torch.equal(torch.from_numpy(short).view(torch.bfloat16), x.bfloat16())
    assert torch.equal(torch.from_numpy(back).view(torch.float32), x.bfloat16().float())


@given(Lengths, st.integers(0, 10**6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_attention_in_bf16_is_the_formula(lengths: list[int], seed: int, firsts: bool) -> None:
    made, (heads, width) = batch(lengths), (3, 4)
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, len(made.ids), heads, width).bfloat16().unbind()
    asked = q[made.ends[:-1]] if firsts else q
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.models.attention.attends_in_bf16", lambda: True)
        found = attend(asked, k, v, made).view(-1, heads, width)
    assert found.dtype == torch.bfloat16
    expected = attended(q.float(), k.float(), v.float(), made, firsts)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
