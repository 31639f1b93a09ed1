"""The weights of a model that packed.py or llama.py runs, read without building the model.

transformers takes seconds to import and more memory than the weights of a small model; an actor
that runs our own forward pass needs neither.
"""

import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from shardrank.core.errors import InputError
from shardrank.models.folder.decoder_encoder import bare_decoder_name
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.packable import bare_name, family_of
from shardrank.models.folder.weights import find_weights


class State(dict[str, Tensor]):
    """Weights by the names that a bare BERT gives them: "embeddings.…", "encoder.…", "pooler.…";
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


def model_files(layout: Layout) -> list[Path]:
    """What a model is read from: its weights, and the file that says what they are."""
    return [layout.transformer / "config.json", *find_weights(layout.transformer).files]


def read_state(layout: Layout) -> State:
    """All weights of a model that is packable, on the CPU, in the type of the files."""
    family = family_of(layout.config)
    weights: dict[str, Tensor] = {}
    for file in find_weights(layout.transformer).files:
        weights |= {bare_name(name, family): tensor for name, tensor in _mapped(file).items()}
    return State(weights, layout.transformer)


def read_whole_state(layout: Layout) -> State:
    """All weights of a model by the names of the files, on the CPU, in their type."""
    weights: dict[str, Tensor] = {}
    for file in find_weights(layout.transformer).files:
        weights |= _mapped(file)
    return State(weights, layout.transformer)


def read_decoder_state(layout: Layout) -> State:
    """As `read_whole_state`, of an encoder, by the names that language models have."""
    whole = read_whole_state(layout)
    return State({bare_decoder_name(name): w for name, w in whole.items()}, whole.folder)


def _mapped(file: Path) -> dict[str, Tensor]:
    """A file's tensors on its mapped pages. Those that bear one name in all layers are mapped on
    their own, so that pages go when the tensors do: queries, keys and values are copied into one
    weight, and all weights of layers are where they are rounded or changed."""
    with safe_open(file, "pt") as opened:
        names = sorted(opened.keys(), key=_kind)
    found: dict[str, Tensor] = {}
    for _, alike in groupby(names, _kind):
        with safe_open(file, "pt") as mapped:
            found |= {name: mapped.get_tensor(name) for name in alike}
    return found


def _kind(name: str) -> str:
    """A tensor's name without its layer's number."""
    return re.sub(r"\d+", "", name)
