"""Layer normalisation in float32 (Ba et al. 2016, arXiv:1607.06450)."""

from dataclasses import dataclass

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

    def __call__(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)
