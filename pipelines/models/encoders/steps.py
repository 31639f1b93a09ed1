"""What happens to a text's vector after pooling, in float32: linear maps, norms, the cut.

Dense is as sentence-transformers 6.2 has it (base/modules/dense.py): act(W·x + b), and with a
residual + x, or + R·x where widths differ.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from shardrank.core.errors import InputError
from shardrank.models.encoders.own_module import load_own
from shardrank.models.folder.modules import (
    Dense,
    Normalize,
    OwnModule,
    StepModule,
    dense_shapes,
)

#: A map of float32[n, d] to float32[n, m].
Step = Callable[[Tensor], Tensor]

_ACTIVATIONS: Mapping[str, Step] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Finish:
    """From a pooled vector to the stored one.

    Attributes:
        steps: what comes first.
        width: components after them, by the model's files.
        dim: how many of these are kept.
        normalise: whether they are divided by their norm.
    """

    steps: tuple[Step, ...]
    width: int
    dim: int
    normalise: bool

    def __call__(self, vectors: Tensor) -> Tensor:
        """float32[n, d] → float32[n, dim].

        Raises:
            InputError: the model gives another width than its files say.
        """
        for step in self.steps:
            vectors = step(vectors)
        if vectors.shape[1] != self.width:
            raise InputError(
                f"The model gives vectors of {vectors.shape[1]} components, where its files say "
                f"{self.width}.",
                "Use another model.",
            )
        vectors = vectors[:, : self.dim]
        return _normalise(vectors) if self.normalise else vectors


def make_steps(steps: Sequence[StepModule], device: torch.device) -> tuple[Step, ...]:
    """Raises as `make_step`."""
    return tuple(make_step(step, device) for step in steps)


def make_step(step: StepModule, device: torch.device) -> Step:
    """A step of a model's folder, its weights on the device.

    Raises:
        InputError: weights are missing, pickled, of other shapes than the folder says, or too many.
    """
    if isinstance(step, Normalize):
        return _normalise
    return load_own(step, device) if isinstance(step, OwnModule) else _dense(step, device)


def _normalise(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=1)


def _dense(step: Dense, device: torch.device) -> Step:
    weights = {name: w.to(device) for name, w in _weights(step).items()}
    weight, bias = weights["linear.weight"], weights.get("linear.bias")
    beside = weights.get("residual.weight")
    activation = _ACTIVATIONS[step.activation]

    def run(x: Tensor) -> Tensor:
        y = activation(functional.linear(x, weight, bias))
        if not step.residual:
            return y
        return y + (x if beside is None else functional.linear(x, beside))

    return run


def _weights(step: Dense) -> dict[str, Tensor]:
    """The step's weights in float32, after a check of names and shapes."""
    path = step.folder / "model.safetensors"
    found = _load(path)
    wanted = dense_shapes(step)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if shapes != wanted:
        raise InputError(
            f"{path} holds {_list(shapes)}; its config.json asks for {_list(wanted)}.",
            "Name a complete model folder.",
        )
    return {name: tensor.float() for name, tensor in found.items()}


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        pickled = (path.parent / "pytorch_model.bin").is_file()
        raise InputError(
            f"{path} cannot be read: {error}"
            + (" (pytorch_model.bin beside it is a pickle, which may run code)" if pickled else ""),
            "Only safetensors are read: save the model with a newer sentence-transformers, where "
            "you trust it."
            if pickled
            else "Name a complete model folder.",
        ) from error


def _list(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "nothing"
