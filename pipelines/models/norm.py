"""Layer normalisation in float32 (Ba et al. 2016, arXiv:1607.06450)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from pipelines.models.attention_bf16 import attends_in_bf16
from pipelines.models.state import State


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

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)

    def of_sum(self, mapped: Tensor, stream: Tensor) -> Tensor:
        """Of [n, m] in any type and float32[n, m] added: float32[n, m]."""
        if mapped.is_cuda or mapped.dtype != torch.bfloat16 or not attends_in_bf16():
            return self(stream + mapped)
        from pipelines.models.kernels import add_norm  # numba: see `attends_in_bf16`

        out = np.empty(stream.shape, np.float32)
        affine = (self.weight.numpy(), self.bias.numpy(), self.epsilon)
        add_norm(mapped.view(torch.uint16).numpy(), stream.numpy(), affine, out)
        return torch.from_numpy(out)
