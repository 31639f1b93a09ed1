"""Linear maps x·Wᵀ of decoders' layers, most of which have no bias."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from shardrank.models.forward.float_products import product
from shardrank.models.forward.linear import DTYPES, Linear, linear_maps


class DecoderMap(Protocol):
    """A map of [n, k] to [n, m]."""

    def __call__(self, x: Tensor) -> Tensor:
        """In the type in which its outputs attend to each other."""

    def add_to(self, stream: Tensor, x: Tensor) -> Tensor:
        """The stream float32[n, m], to which the map of x is added in place."""

    def part(self, begin: int, end: int | None) -> "DecoderMap":
        """The map to some of the outputs only; it shares the memory."""


#: Makes a map of a weight [m, k], and of a bias [m] where there is one.
MakeMap = Callable[[Tensor, Tensor | None], DecoderMap]


def decoder_maps(dtype: str) -> MakeMap:
    """How maps are made for a forward pass in "fp32", "bf16", "fp16" or "int8"."""
    return Int8Map.of if dtype == "int8" else partial(FloatMap.of, dtype=DTYPES[dtype])


@dataclass(frozen=True, eq=False)
class FloatMap:
    """Products in the type of the weight (protocol: DecoderMap)."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> "FloatMap":
        """Both rounded to `dtype`."""
        return cls(weight.to(dtype), None if bias is None else bias.to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        return product(x.to(self.weight.dtype), self.weight, self.bias)

    def add_to(self, stream: Tensor, x: Tensor) -> Tensor:
        return stream.add_(self(x))

    def part(self, begin: int, end: int | None) -> "FloatMap":
        bias = None if self.bias is None else self.bias[begin:end]
        return FloatMap(self.weight[begin:end], bias)


@dataclass(frozen=True, eq=False)
class Int8Map:
    """Products of 8-bit numbers (protocol: DecoderMap)."""

    inner: Linear

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> "Int8Map":
        """A bias of zeros where there is none."""
        make = linear_maps("int8")
        return cls(make(weight, torch.zeros(len(weight)) if bias is None else bias))

    def __call__(self, x: Tensor) -> Tensor:
        return self.inner.attended(x)

    def add_to(self, stream: Tensor, x: Tensor) -> Tensor:
        return stream.add_(self.inner(x))

    def part(self, begin: int, end: int | None) -> "Int8Map":
        return Int8Map(self.inner.part(begin, end))
