"""Linear maps of floats, by torch's own way and by oneDNN's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shardrank.models.forward.linear import FloatLinear
from shardrank.models.forward.norm import Norm

WAYS = pytest.mark.parametrize("laid_out", [False, True])
KINDS = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}


def problem(n: int, k: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(n, k), torch.randn(m, k) / k**0.5, torch.randn(m)


def made(
    patch: pytest.MonkeyPatch, laid_out: bool, dtype: torch.dtype, weight: Tensor, bias: Tensor
) -> FloatLinear:
    if laid_out and dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN multiplies no bf16 on this CPU")
    patch.setattr("shardrank.models.forward.linear.suits", lambda weight: laid_out)
    return FloatLinear.of(weight, bias, dtype)


@WAYS
@KINDS
def test_all_that_follows_a_map(
    laid_out: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = problem(5, 48, 30)
    maps, close = made(monkeypatch, laid_out, dtype, weight, bias), TOLERANCE[dtype]
    expected, stream = x @ weight.T + bias, torch.randn(5, 30)
    norm = Norm(torch.rand(30), torch.randn(30), 1e-5)
    for found, wanted in (
        (maps(x), expected),
        (maps.gelu(x), functional.gelu(expected)),
        (maps.plus(x, stream), stream + expected),
        (maps.added(x, stream, norm), norm(stream + expected)),
        (maps.part(10, 20)(x), expected[:, 10:20]),
        (maps.part(20, None)(x), expected[:, 20:]),
    ):
        torch.testing.assert_close(found.float(), wanted, atol=close, rtol=close)
    assert maps.plus(x, stream).dtype == torch.float32


@WAYS
def test_a_map_without_a_bias(laid_out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, _ = problem(7, 33, 20)
    monkeypatch.setattr("shardrank.models.forward.linear.suits", lambda weight: laid_out)
    maps, stream = FloatLinear.of(weight, None, torch.float32), torch.randn(7, 20)
    torch.testing.assert_close(maps(x), x @ weight.T)
    torch.testing.assert_close(maps.plus(x, stream), stream + x @ weight.T)
    short = maps.plus(x.bfloat16(), stream)  # what attention gives
    torch.testing.assert_close(short, stream + x.bfloat16().float() @ weight.T)
    assert maps(x[:0]).shape == (0, 20)


@WAYS
@pytest.mark.parametrize("rows", [1, 16, 100, 999])
def test_rows_hardly_depend_on_their_batch(
    laid_out: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = problem(1024, 384, 1152)
    maps = made(monkeypatch, laid_out, torch.float32, weight, bias)
    whole = maps(x)
    torch.testing.assert_close(maps(x[:rows]), whole[:rows])
