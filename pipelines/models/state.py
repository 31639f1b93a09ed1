"""The weights of a model that packed.py runs, read without building the model.

transformers takes seconds to import and more memory than the weights of a small model; an actor
that runs `packed.py` needs neither.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipelines.core.errors import InputError
from pipelines.models.weights import files_of

#: What classifiers and language models put before the names of the encoder that they hold.
_BODIES = ("bert.", "roberta.")


class State(dict[str, Tensor]):
    """Weights by the names that a bare encoder gives them: "embeddings.…", "encoder.…", "pooler.…";
    beside them those of a classifier's head, "classifier.…". One that is missing is an error.
    """

    def __init__(self, weights: Mapping[str, Tensor], folder: Path) -> None:
        super().__init__(weights)
        self.folder = folder

    def __missing__(self, name: str) -> Tensor:
        raise InputError(
            f"{self.folder} lacks weights of its architecture, such as {name}.",
            "Name a folder whose weights are complete, and whose task is the one asked for.",
        )

    def moved(self, device: torch.device) -> "State":
        """The weights on the device."""
        return State({name: tensor.to(device) for name, tensor in self.items()}, self.folder)


def read_state(folder: Path) -> State:
    """All weights in a folder's safetensors files, on the CPU, in the type of the files."""
    weights: dict[str, Tensor] = {}
    for file in files_of(folder):
        weights |= {bare_name(name): tensor for name, tensor in load_file(file).items()}
    return State(weights, folder)


def bare_name(name: str) -> str:
    """A weight's name in the encoder alone, with layer norms as they are called today."""
    for body in _BODIES:
        name = name.removeprefix(body)
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")
