"""Encoders that are decoders, without padding: `is_packed_decoder` in folder/decoder_encoder.py.

Where only the last token's state is wanted, the last layer computes no other's but for keys and
values.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from shardrank.models.folder.decoder_encoder import encoder_shape
from shardrank.models.folder.plain_decoder import WORDS, Config
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.decoder_layer import Layer, Scale
from shardrank.models.forward.linear import DTYPES
from shardrank.models.forward.rope import Turns
from shardrank.models.forward.state import State
from shardrank.models.forward.whole_attention import WholePass


class PackedStates:
    """Llama's kind and Gemma 3 (protocol: Network)."""

    takes_types = False
    implied_type: int | None = None

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape, words = encoder_shape(config), state[WORDS]
        # In 8 bits words stay as the files have them.
        self._words = words if dtype == "int8" else words.to(DTYPES[dtype])
        self._factor = _factor(words.shape[1], DTYPES.get(dtype)) if shape.raised else 1.0
        self._turns: Mapping[int, Turns] = {
            number: Turns.of(rope, shape.head_width, words.device)
            for number, rope in enumerate(shape.ropes)
            if shape.ropes.index(rope) == number
        }
        self._turned_as = [shape.ropes.index(rope) for rope in shape.ropes]
        self._layers = [Layer(state, number, shape, dtype) for number in range(shape.layers)]
        self._norm = Scale.of(state, "model.norm", shape)

    def hidden(self, batch: Batch) -> Tensor:
        step, turns = WholePass(batch), self._at(batch)
        x = self._through(batch, step, turns)
        return self._norm(self._layers[-1](x, turns[self._turned_as[-1]], step))

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]

    def last(self, batch: Batch) -> Tensor:
        step, turns = WholePass(batch), self._at(batch)
        x = self._through(batch, step, turns)
        return self._norm(self._layers[-1].of(x, turns[self._turned_as[-1]], step, step.ends))

    def _through(self, batch: Batch, step: WholePass, turns: Mapping[int, Tensor]) -> Tensor:
        """float32[t, d] before the last layer."""
        x = self._words[batch.ids].float() * self._factor
        for layer, which in zip(self._layers[:-1], self._turned_as, strict=False):
            x = layer(x, turns[which], step)
        return x

    def _at(self, batch: Batch) -> Mapping[int, Tensor]:
        return {number: turns.at(batch.places) for number, turns in self._turns.items()}


def _factor(width: int, dtype: torch.dtype | None) -> float:
    """√width, rounded to the type of the model, as the library has it."""
    return float(torch.tensor(width**0.5).to(dtype or torch.float32))
