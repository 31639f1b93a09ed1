"""Linear maps by oneDNN, of weights that are laid out for it once.

torch 2.13 hands products of float32 to MKL, which uses half of an AMD's vectors: on a Zen 5 it does
105 · 10⁹ operations a second on one core, and oneDNN 245, with GELU or a sum added on the way. See
docs/cpus.md.
"""

from functools import cache

import torch
from torch import Tensor

from shardrank.kernels.machine import is_amd

#: Rows of the products for which a weight is laid out; others are as fast.
_ROWS = 1024

_ops = torch.ops.mkldnn


def suits(weight: Tensor) -> bool:
    """Whether its products are made faster so."""
    return weight.device.type == "cpu" and weight.dtype in _suited()


def lay_out(weight: Tensor) -> Tensor:
    """[m, k] as oneDNN wants it; `to_dense` is the way back."""
    laid_out: Tensor = _ops._reorder_linear_weight(weight.contiguous(), _ROWS)
    return laid_out


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·Wᵀ + b of [n, k] and a weight that is laid out."""
    found: Tensor = _ops._linear_pointwise(x, weight, bias, "none", [], "")
    return found


def multiply_gelu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """GELU of `multiply`."""
    found: Tensor = _ops._linear_pointwise(x, weight, bias, "gelu", [], "none")
    return found


def multiply_add(x: Tensor, weight: Tensor, bias: Tensor | None, to: Tensor) -> Tensor:
    """`multiply` and [n, m] of the same type."""
    found: Tensor = _ops._linear_pointwise.binary(x, to, weight, bias, "add")
    return found


@cache
def _suited() -> frozenset[torch.dtype]:
    if not (is_amd() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return frozenset()
    short = {torch.bfloat16} if _ops._is_mkldnn_bf16_supported() else set()
    return frozenset({torch.float32} | short)
