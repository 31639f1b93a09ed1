"""BERT and its likes without padding (Devlin et al. 2019, arXiv:1810.04805): `is_packable` in
folder/packable.py says which models these are. Those of packed_mpnet.py and packed_deberta.py
attend otherwise, and are the same around it.

A batch is one run of tokens: the linear layers see [t, d], and only attention knows where inputs
begin and end. The stream between the layers is float32 whatever the type of the products: measured
on 400 docstrings, 1 - cosine to float32 is 2.9e-5 at most that way in bf16, and 7.5e-5 with all in
bf16. Where only the first token's state is wanted, the last layer computes no other: of its 12·d²
multiplications a token, 2·d² remain.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from shardrank.models.folder.limits import first_position
from shardrank.models.folder.packable import head_of, sizes
from shardrank.models.forward.attention import Attend, attend
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.linear import FloatLinear, Linear, MakeLinear, linear_maps
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.packed_deberta import disentangled_attention
from shardrank.models.forward.packed_mpnet import bucketed_attention
from shardrank.models.forward.state import State

#: A parsed config.json.
Config = Mapping[str, Any]

#: How each layer of a family attends, where not as BERT does; which layer is a number from 0.
_ATTENTION: Mapping[str, Callable[[State, Config, str], Callable[[int], Attend]]] = {
    "mpnet": bucketed_attention,
    "deberta-v2": disentangled_attention,
}
_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": gelu,
}


@dataclass(frozen=True, eq=False)
class Shape:
    """What the weights' shapes do not tell.

    Attributes:
        heads: of attention.
        epsilon: of layer normalisation.
        first_position: the number of an input's first position.
    """

    heads: int
    epsilon: float
    first_position: int

    @classmethod
    def of(cls, config: Config) -> "Shape":
        """From a config.json that `is_packable`."""
        own = sizes(config)
        return cls(own.heads, own.epsilon, first_position(config))


class Layer:
    """One layer: attention, then two linear maps, each added to the stream and normalised."""

    def __init__(
        self, state: State, name: str, shape: Shape, make: MakeLinear, attends: Attend
    ) -> None:
        def joined(*maps: str) -> Linear:
            weights, biases = (
                _one([state[f"{name}.{each}.{kind}"] for each in maps])
                for kind in ("weight", "bias")
            )
            return make(weights, biases)

        own = "attention.self"
        self._heads, self._attend = shape.heads, attends
        self._all = joined(f"{own}.query", f"{own}.key", f"{own}.value")
        self._width = len(state[f"{name}.{own}.query.bias"])
        self._out = joined("attention.output.dense")
        self._norm = Norm.of(state, f"{name}.attention.output.LayerNorm", shape.epsilon)
        self._up, self._down = joined("intermediate.dense"), joined("output.dense")
        self._last_norm = Norm.of(state, f"{name}.output.LayerNorm", shape.epsilon)

    def __call__(self, x: Tensor, batch: Batch) -> Tensor:
        """float32[t, d] → float32[t, d]."""
        queries, keys, values = self._all.attended(x).view(len(x), 3, self._heads, -1).unbind(1)
        return self._finish(x, self._attend(queries, keys, values, batch))

    def first(self, x: Tensor, batch: Batch) -> Tensor:
        """float32[t, d] → float32[b, d], of the first token of each input."""
        head = x[batch.ends[:-1]]
        queries = self._query.attended(head).view(len(head), self._heads, -1)
        keys, values = self._key_value.attended(x).view(len(x), 2, self._heads, -1).unbind(1)
        return self._finish(head, self._attend(queries, keys, values, batch))

    @cached_property
    def _query(self) -> Linear:
        return self._all.part(0, self._width)

    @cached_property
    def _key_value(self) -> Linear:
        return self._all.part(self._width, None)

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self._out.added(attended, x, self._norm)
        return self._up.feed(x, self._down, x, self._last_norm)


class PackedBert:
    """An encoder of BERT's kind (protocol: Network)."""

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape, own = Shape.of(config), sizes(config)
        self._words = state["embeddings.word_embeddings.weight"].float()
        self._positions = _table(state, "position") if own.positions else None
        self._types = _table(state, "token_type") if own.types else None
        self._norm = Norm.of(state, "embeddings.LayerNorm", shape.epsilon)
        self._first_position = shape.first_position
        self.takes_types = own.types > 0
        self.implied_type: int | None = 0 if own.types else None
        make, attends = linear_maps(dtype), _attention(state, config, dtype)
        self._layers = [
            Layer(state, f"encoder.layer.{number}", shape, make, attends(number))
            for number in range(own.layers)
        ]

    def hidden(self, batch: Batch) -> Tensor:
        x = self._embed(batch)
        for layer in self._layers:
            x = layer(x, batch)
        return x

    def first(self, batch: Batch) -> Tensor:
        x = self._embed(batch)
        for layer in self._layers[:-1]:
            x = layer(x, batch)
        return self._layers[-1].first(x, batch)

    def last(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[1:] - 1]

    def _embed(self, batch: Batch) -> Tensor:
        x = self._words[batch.ids]
        if self._positions is not None:
            x = x + self._positions[self._places(batch)]
        if self._types is not None:
            x = x + (self._types[0] if batch.types is None else self._types[batch.types])
        return self._norm(x)

    def _places(self, batch: Batch) -> Tensor:
        """int64[t]: the number of each token's position.

        Where the padding's comes before the first, as in RoBERTa's family, a token spelt <pad> in
        a text has that one, and is not counted (transformers,
        RobertaEmbeddings.create_position_ids_from_input_ids). Nothing here waits for a GPU.
        """
        if self._first_position == 0:
            return batch.places
        padding = self._first_position - 1
        real = batch.ids != padding
        counts = real.cumsum(0)
        before = (counts - real.long())[batch.ends[:-1]]  # int64[b]
        own = counts - before.repeat_interleave(batch.lengths, output_size=len(counts))
        return own * real + padding


class PackedClassifier:
    """BERT with a head of two linear maps over its first token (protocol: Classifier)."""

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        self._bert, head = PackedBert(state, config, dtype), head_of(config)
        self.takes_types, self.implied_type = self._bert.takes_types, self._bert.implied_type
        self._pooler, self._out = (
            FloatLinear.of(state[f"{name}.weight"], state[f"{name}.bias"], torch.float32)
            for name in (head.first, head.last)
        )
        self._activation = _ACTIVATIONS[head.activation]
        self.labels = len(state[f"{head.last}.bias"])

    def __call__(self, batch: Batch) -> Tensor:
        return self._out(self._activation(self._pooler(self._bert.first(batch))))


def _one(pieces: Sequence[Tensor]) -> Tensor:
    """The pieces one after another; one alone stays where it is, in the file's mapped pages."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))


def _table(state: State, kind: str) -> Tensor:
    return state[f"embeddings.{kind}_embeddings.weight"].float()


def _attention(state: State, config: Config, dtype: str) -> Callable[[int], Attend]:
    """How each layer attends."""
    make = _ATTENTION.get(str(config["model_type"]))
    return make(state, config, dtype) if make else lambda number: attend
