"""What stands between the products of a transformer: one way through memory in float32 on a CPU,
and in bf16 where it multiplies that; else as torch has it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from shardrank.models.forward.attention_bf16 import attends_in_bf16
from shardrank.models.forward.norm import Norm


def bent(x: Tensor, bias: Tensor) -> Tensor:
    """GELU of x + bias, of float32[n, m] on a CPU, in place."""
    from shardrank.kernels.float_loops import bend_floats  # numba: see `attends_in_loops`

    bend_floats(x.numpy(), bias.numpy())
    return x


def normed(x: Tensor, bias: Tensor, stream: Tensor, norm: Norm) -> Tensor:
    """x + bias + stream normalised, of float32[n, m] on a CPU, in place of x."""
    from shardrank.kernels.float_loops import norm_floats  # numba: see `attends_in_loops`

    norm_floats(x.numpy(), bias.numpy(), stream.contiguous().numpy(), norm.affine)
    return x


def gated_floats(x: Tensor, bias: Tensor) -> Tensor:
    """As `gated`, of x + bias, of float32 on a CPU; x is overwritten."""
    from shardrank.kernels.float_loops import gate_floats  # numba: see `attends_in_loops`

    out = torch.empty((len(x), x.shape[1] // 2))
    gate_floats(x.numpy(), bias.numpy(), out.numpy())
    return out


def gated(x: Tensor) -> Tensor:
    """[n, 2 · h] → [n, h]: GELU of the first half of each row, times the second (Shazeer 2020,
    arXiv:2002.05202)."""
    if not is_short(x):
        first, second = x.chunk(2, 1)
        return gelu(first) * second
    from shardrank.kernels.gated_loops import gate  # numba: see `attends_in_bf16`

    out = torch.empty((len(x), x.shape[1] // 2), dtype=x.dtype)
    gate(bits(x), bits(out))
    return out


def joined(x: Tensor, stream: Tensor, norm: Norm) -> Tensor:
    """The stream float32[n, m] normalised, in the type that suits it, after x [n, m] was added to
    it in place."""
    if not is_short(x):
        return norm(stream.add_(x))
    from shardrank.kernels.gated_loops import join  # numba: see `attends_in_bf16`

    join(bits(x), stream.numpy(), norm.affine, bits(out := torch.empty_like(x)))
    return out


def is_short(x: Tensor) -> bool:
    """Whether these are of bf16 on a CPU that multiplies it."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and attends_in_bf16()


def bits(x: Tensor) -> Any:
    """bf16 as machine code sees it: uint16 of its shape."""
    return x.view(torch.uint16).numpy()
