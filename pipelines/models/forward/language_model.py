"""Masked language models: a batch → logits of every token over the vocabulary.

Logits are wide: 1,024 tokens and 30,522 terms are 125 MB. So a model is asked in two steps, for the
states of all tokens and then for the logits of as many as fit.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from shardrank.models.folder.language_head import decoder_names, head_of
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.linear import DTYPES, FloatLinear
from shardrank.models.forward.network import Typed
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.packed import Config, PackedBert, Shape
from shardrank.models.forward.state import State


@dataclass(frozen=True, eq=False)
class Decoder:
    """The last map of a model, to the vocabulary: a weight [v, d], and most often a bias [v]."""

    weight: Tensor
    bias: Tensor | None

    def space(self, tokens: int) -> Tensor:
        """[tokens, v] of whatever numbers: room for logits, to be used again and again, since each
        of its pages costs time when it is first touched."""
        kind, device = self.weight.dtype, self.weight.device
        return torch.empty(tokens, len(self.weight), dtype=kind, device=device)

    def __call__(self, states: Tensor, space: Tensor) -> Tensor:
        """[n, v] in the type of the weight, of the states [n, d] of any tokens, in the space."""
        states, out = states.to(self.weight.dtype), space[: len(states)]
        if self.bias is None:
            return torch.mm(states, self.weight.T, out=out)
        return torch.addmm(self.bias, states, self.weight.T, out=out)


class LanguageModel(Typed, Protocol):
    """A masked language model."""

    @property
    def vocabulary(self) -> int:
        """How many terms there are."""

    @property
    def decoder(self) -> Decoder | None:
        """What makes logits of states; none: they are logits already."""

    def states(self, batch: Batch) -> Tensor:
        """[t, d] of all tokens, in the order of the batch."""


class PackedLanguageModel:
    """BERT's family, without padding (protocol: LanguageModel)."""

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        head, kind = head_of(config), DTYPES[dtype]
        self._bert = PackedBert(state, config, dtype)
        self.takes_types, self.implied_type = self._bert.takes_types, self._bert.implied_type
        self._dense = FloatLinear.of(
            state[f"{head.dense}.weight"], state[f"{head.dense}.bias"], kind
        )
        self._norm = Norm.of(state, head.norm, Shape.of(config).epsilon)
        weight, bias = decoder_names(config, state)
        self.decoder: Decoder | None = Decoder(state[weight].to(kind), state[bias].to(kind))
        self.vocabulary = len(state[bias])

    def states(self, batch: Batch) -> Tensor:
        return self._norm(self._dense.gelu(self._bert.hidden(batch)).float())


def room(vocabulary: int, device: torch.device) -> int:
    """How many tokens' logits there may be at once: 32 MB of float32 on a CPU, where they shall
    stay near its cache, and 1 GB on a GPU."""
    return max(1, (1 << (23 if device.type == "cpu" else 28)) // vocabulary)
