"""Linear maps x·Wᵀ + b, as products of floats; `int8.py` has them as products of 8-bit numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from shardrank.models.forward import fused
from shardrank.models.forward.attention_fp32 import attends_in_loops
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.onednn import lay_out, multiply, multiply_add, multiply_gelu, suits

#: Types of a forward pass, by their names in the settings.
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Linear(Protocol):
    """A map of float32[n, k] to [n, m], in whatever type suits it."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def gelu(self, x: Tensor) -> Tensor:
        """The map, and then GELU."""

    def feed(self, x: Tensor, down: "Linear", stream: Tensor, norm: Norm) -> Tensor:
        """`gelu`, then the other map of that, `added`: float32[n, m]."""

    def attended(self, x: Tensor) -> Tensor:
        """The map, in the type in which its outputs attend to each other."""

    def plus(self, x: Tensor, stream: Tensor) -> Tensor:
        """The map of [n, k] and the stream float32[n, m], added up in float32."""

    def added(self, x: Tensor, stream: Tensor, norm: Norm) -> Tensor:
        """The map added to the stream float32[n, m], and normalised: float32[n, m]."""

    def gated(self, x: Tensor) -> Tensor:
        """The map, and then GELU of the first half of its outputs, times the second half."""

    def joined(self, x: Tensor, stream: Tensor, norm: Norm) -> Tensor:
        """The stream float32[n, m] normalised, for other maps to take, after the map was added to
        it in place."""

    def gate(self, x: Tensor, down: "Linear", stream: Tensor, norm: Norm) -> Tensor:
        """`gated`, then the other map of that, `joined`."""

    def part(self, begin: int, end: int | None) -> "Linear":
        """The map to some of the outputs only."""


#: Makes a map of a weight float32[m, k] and a bias float32[m], if there is one.
MakeLinear = Callable[[Tensor, Tensor | None], Linear]


def linear_maps(dtype: str) -> MakeLinear:
    """How maps are made for a forward pass in "fp32", "bf16", "fp16" or "int8"."""
    if dtype == "int8":
        from shardrank.models.forward.int8 import Int8Linear  # needs numba, which a GPU does not

        return Int8Linear.of
    return partial(FloatLinear.of, dtype=DTYPES[dtype])


@dataclass(frozen=True, eq=False)
class FloatLinear:
    """Products in the type of the weight (protocol: Linear).

    Attributes:
        weight: [m, k].
        bias: [m]; none: 0. One of zeros would cost a tenth of the product in bf16.
        laid_out: whether the weight is, for oneDNN.
    """

    weight: Tensor
    bias: Tensor | None
    laid_out: bool = False

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> "FloatLinear":
        """The weight and bias rounded to `dtype`."""
        short = weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
        return cls(lay_out(short), bias, True) if suits(short) else cls(short, bias)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return (multiply if self.laid_out else functional.linear)(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        if self.laid_out:
            return multiply_gelu(x.to(self.weight.dtype), self.weight, self.bias)
        if self._in_loops:
            return fused.bent(self._product(x), self._shift)
        found = self(x)
        torch.ops.aten.gelu_(found)  # in place: it is the largest tensor that there is
        return found

    def feed(self, x: Tensor, down: Linear, stream: Tensor, norm: Norm) -> Tensor:
        return down.added(self.gelu(x), stream, norm)

    def attended(self, x: Tensor) -> Tensor:
        return self(x)

    def added(self, x: Tensor, stream: Tensor, norm: Norm) -> Tensor:
        if self._in_loops and not self.laid_out:
            return fused.normed(self._product(x), self._shift, stream, norm)
        return norm(self.plus(x, stream))

    def plus(self, x: Tensor, stream: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if self.laid_out and x.dtype == stream.dtype:
            return multiply_add(x, self.weight, self.bias, stream)
        if self.bias is None and x.dtype == stream.dtype:
            return torch.addmm(stream, x, self.weight.T)
        found = self(x)
        return found.add_(stream) if found.dtype == stream.dtype else stream + found

    def gated(self, x: Tensor) -> Tensor:
        if self._in_loops:
            return fused.gated_floats(self._product(x), self._shift)
        return fused.gated(self(x))

    def joined(self, x: Tensor, stream: Tensor, norm: Norm) -> Tensor:
        plain = self.bias is None and not self.laid_out
        if plain and self.weight.dtype == stream.dtype:
            return norm(stream.addmm_(x, self.weight.T))
        return fused.joined(self(x), stream, norm)

    def gate(self, x: Tensor, down: Linear, stream: Tensor, norm: Norm) -> Tensor:
        return down.joined(self.gated(x), stream, norm)

    def part(self, begin: int, end: int | None) -> "FloatLinear":
        """It shares the memory, but for a weight that is laid out."""
        bias = None if self.bias is None else self.bias[begin:end]
        if self.laid_out:
            return FloatLinear(lay_out(self.weight.to_dense()[begin:end]), bias, True)
        return FloatLinear(self.weight[begin:end], bias)

    @cached_property
    def _in_loops(self) -> bool:
        """Whether loops of our own are what follows a product."""
        return attends_in_loops(self.weight)

    @cached_property
    def _shift(self) -> Tensor:
        """float32[m], for loops: the bias, or none is 0."""
        if self.bias is not None:
            return self.bias.contiguous()
        return torch.zeros(self.weight.shape[0])

    def _product(self, x: Tensor) -> Tensor:
        """x·Wᵀ; a bias would be written before, as what products are added to."""
        x = x.to(self.weight.dtype)
        return (
            multiply(x, self.weight, None) if self.laid_out else functional.linear(x, self.weight)
        )
