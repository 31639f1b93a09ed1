"""Llama and its likes as language models: `is_plain_decoder` in folder/plain_decoder.py says which.

Their layers are those of decoder_layer.py. The last one goes on from attention with the wanted
tokens only.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from shardrank.models.folder.plain_decoder import WORDS, Config, DecoderShape, head_weight
from shardrank.models.forward.causal import Step, chosen, room
from shardrank.models.forward.decoder_layer import Layer, Scale
from shardrank.models.forward.linear import DTYPES
from shardrank.models.forward.rope import Turns
from shardrank.models.forward.state import State


class LlamaDecoder:
    """Llama's kind (protocol: CausalModel)."""

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape, kind = DecoderShape.of(config), DTYPES[dtype]
        self._words = state[WORDS].to(kind)
        head = head_weight(config, state)
        self._head = self._words if head == WORDS else state[head].to(kind)
        self._turns = Turns.of(shape.ropes[0], shape.head_width, self._words.device)
        self._layers = [Layer(state, number, shape, dtype) for number in range(shape.layers)]
        self._norm = Scale.of(state, "model.norm", shape)

    def logits(self, step: Step, answers: Tensor | None) -> Tensor:
        head = self._head if answers is None else self._head[answers]
        return linear(self._states(step), head).float()

    def logprobs(self, step: Step, targets: Tensor) -> Tensor:
        count, states = room(len(self._head), self._head.device), self._states(step)
        parts = [slice(begin, begin + count) for begin in range(0, len(states), count)]
        made = [chosen(linear(states[mine], self._head).float(), targets[mine]) for mine in parts]
        return torch.cat(made)

    def _states(self, step: Step) -> Tensor:
        """[w, d] of the wanted tokens, in the type of the head."""
        x = self._words[step.ids].float()
        turns = self._turns.at(step.places)
        for layer in self._layers[:-1]:
            x = layer(x, turns, step, None)
        x = self._layers[-1](x, turns, step, step.wanted)
        return self._norm(x).to(self._head.dtype)
