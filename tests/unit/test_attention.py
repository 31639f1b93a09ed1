"""Attention in bf16 and the loops around its products, against torch in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shardrank.kernels.attention_loops import gather, softmax_rows, spread
from shardrank.kernels.bf16 import narrow, widen
from shardrank.models.forward.attention import attend
from tests.unit.test_packed import Lengths, attended, batch


def bits_of(x: torch.Tensor) -> Any:
    return x.bfloat16().view(torch.uint16).numpy()


def floats_of(bits: Any) -> torch.Tensor:
    return torch.from_numpy(bits).view(torch.bfloat16).double()


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 48), max_size=7),
    st.integers(1, 20),
    st.sampled_from([0.01, 1.0, 50.0, 1e4]),
)
@settings(max_examples=80, deadline=None)
def test_rows_become_their_softmax(seed: int, lengths: list[int], each: int, wide: float) -> None:
    torch.manual_seed(seed)
    x = torch.randn(len(lengths) * each, 48).mul(wide).bfloat16()
    bits = bits_of(x.clone())
    softmax_rows(bits, np.array(lengths, np.int64), each, 0.25)
    found = floats_of(bits)
    for number, length in enumerate(lengths):
        rows = slice(number * each, (number + 1) * each)
        expected = (x[rows, :length].double() * 0.25).softmax(1)
        torch.testing.assert_close(found[rows, :length], expected, rtol=5e-3, atol=1e-6)
        assert not found[rows, length:].any()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 5))
def test_tokens_are_spread_over_heads_and_gathered(
    lengths: list[int], heads: int, width: int
) -> None:
    sizes = np.array(lengths, np.int64)
    begins = np.cumsum(sizes) - sizes
    tokens = np.arange(sizes.sum() * heads * width, dtype=np.int64).reshape(-1, heads, width) + 1
    apart = np.full((len(lengths), heads, 9, width), -1, np.int64)
    spread(tokens, begins, sizes, apart)
    for number, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        mine = tokens[begin : begin + size].transpose(1, 0, 2)
        assert np.array_equal(apart[number, :, :size], mine)
        assert not apart[number, :, size:].any()
    back = np.zeros_like(tokens)
    gather(apart, begins, sizes, back)
    assert np.array_equal(back, tokens)


@pytest.mark.parametrize("shared", [-3e38, -200.0, 0.0, 1e30])
def test_equal_numbers_share(shared: float) -> None:
    """However far they lie from 0: only what stands after the length could be larger."""
    bits = bits_of(torch.full((9, 16), shared))
    bits[:, 5:] = bits_of(torch.tensor([3e38]))
    softmax_rows(bits, np.array([5]), 9, 0.5)
    assert np.allclose(floats_of(bits)[:, :5], 0.2, rtol=4e-3)


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=70))
def test_bf16_is_the_nearest(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    short, back = np.empty(len(x), np.uint16), np.empty(len(x), np.int32)
    narrow(x.view(torch.int32).numpy(), short)
    widen(short, back)
    assert torch.equal(torch.from_numpy(short).view(torch.bfloat16), x.bfloat16())
    assert torch.equal(torch.from_numpy(back).view(torch.float32), x.bfloat16().float())


@given(Lengths)
def test_blocks_are_all_inputs_in_order(lengths: list[int]) -> None:
    made = batch(lengths)
    sizes = np.concatenate([block.sizes for block in made.blocks])
    assert sizes.tolist() == made.sizes.tolist()
    begins = np.concatenate([block.begins for block in made.blocks])
    assert begins.tolist() == made.ends[:-1].tolist()
    for block in made.blocks:
        assert len(block.sizes).bit_count() == 1
        assert np.array_equal(block.sizes, made.sizes[block.inputs])
        assert ((block.length - 16 < block.sizes) & (block.sizes <= block.length)).all()
        assert block.length % 16 == 0


@given(Lengths, st.integers(0, 10**6), st.booleans(), st.sampled_from([3, 4]))
@settings(max_examples=80, deadline=None)
def test_attention_in_bf16_is_the_formula(
    lengths: list[int], seed: int, firsts: bool, width: int
) -> None:
    made, heads = batch(lengths), 3
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, len(made.ids), heads, width).bfloat16().unbind()
    asked = q[made.ends[:-1]] if firsts else q
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardrank.models.forward.attention.attends_in_bf16", lambda: True)
        found = attend(asked, k, v, made).view(-1, heads, width)
    assert found.dtype == torch.bfloat16
    expected = attended(q.float(), k.float(), v.float(), made, firsts)
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
