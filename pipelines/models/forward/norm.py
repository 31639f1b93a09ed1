"""Layer normalisation in float32 (Ba et al. 2016, arXiv:1607.06450)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from shardrank.models.forward.state import State


@dataclass(frozen=True, eq=False)
class Norm:
    """What it scales and shifts by, float32[d], and what it adds to a variance."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    @classmethod
    def of(cls, state: State, name: str, epsilon: float) -> "Norm":
        """That of the state's `name`."""
        return cls(state[f"{name}.weight"].float(), state[f"{name}.bias"].float(), epsilon)

    @classmethod
    def unshifted(cls, weight: Tensor, epsilon: float) -> "Norm":
        """One that shifts by nothing."""
        return cls(weight.float(), torch.zeros_like(weight, dtype=torch.float32), epsilon)

    @cached_property
    def affine(self) -> tuple[Any, Any, float]:
        """All three, as machine code takes them: float32[d], float32[d] and a number."""
        return self.weight.numpy(), self.bias.numpy(), self.epsilon

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)
