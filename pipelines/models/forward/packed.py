"""BERT and its likes without padding (Devlin et al. 2019, arXiv:1810.04805): `is_packable` in
folder/packable.py says which models these are.

A batch is one run of tokens: the linear layers see [t, d], and only attention knows where inputs
begin and end. The stream between the layers is float32 whatever the type of the products: measured
on 400 docstrings, 1 - cosine to float32 is 2.9e-5 at most that way in bf16, and 7.5e-5 with all in
bf16. Where only the first token's state is wanted, the last layer computes no other: of its 12·d²
multiplications a token, 2·d² remain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shardrank.models.folder.limits import first_position
from shardrank.models.folder.packable import head_names
from shardrank.models.forward.attention import attend
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.linear import FloatLinear, Linear, MakeLinear, linear_maps
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.state import State

#: A parsed config.json.
Config = Mapping[str, Any]


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
        """From a config.json that `is_packable`; what it leaves out is as BERT has it."""
        return cls(
            heads=config.get("num_attention_heads", 12),
            epsilon=config.get("layer_norm_eps", 1e-12),
            first_position=first_position(config),
        )


class Layer:
    """One layer: attention, then two linear maps, each added to the stream and normalised."""

    def __init__(self, state: State, name: str, shape: Shape, make: MakeLinear) -> None:
        def joined(*maps: str) -> Linear:
            weights, biases = (
                torch.cat([state[f"{name}.{each}.{kind}"] for each in maps])
                for kind in ("weight", "bias")
            )
            return make(weights, biases)

        own = "attention.self"
        self._heads = shape.heads
        self._all = joined(f"{own}.query", f"{own}.key", f"{own}.value")
        width = len(state[f"{name}.{own}.query.bias"])
        self._query, self._key_value = self._all.part(0, width), self._all.part(width, None)
        self._out = joined("attention.output.dense")
        self._norm = Norm.of(state, f"{name}.attention.output.LayerNorm", shape.epsilon)
        self._up, self._down = joined("intermediate.dense"), joined("output.dense")
        self._last_norm = Norm.of(state, f"{name}.output.LayerNorm", shape.epsilon)

    def __call__(self, x: Tensor, batch: Batch) -> Tensor:
        """float32[t, d] → float32[t, d]."""
        queries, keys, values = self._all.attended(x).view(len(x), 3, self._heads, -1).unbind(1)
        return self._finish(x, attend(queries, keys, values, batch))

    def first(self, x: Tensor, batch: Batch) -> Tensor:
        """float32[t, d] → float32[b, d], of the first token of each input."""
        head = x[batch.ends[:-1]]
        queries = self._query.attended(head).view(len(head), self._heads, -1)
        keys, values = self._key_value.attended(x).view(len(x), 2, self._heads, -1).unbind(1)
        return self._finish(head, attend(queries, keys, values, batch))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self._out.added(attended, x, self._norm)
        return self._down.added(self._up.gelu(x), x, self._last_norm)


class PackedBert:
    """BERT's encoder (protocol: Network)."""

    takes_types = True
    implied_type: int | None = 0

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape = Shape.of(config)
        self._words = state["embeddings.word_embeddings.weight"].float()
        self._positions = state["embeddings.position_embeddings.weight"].float()
        self._types = state["embeddings.token_type_embeddings.weight"].float()
        self._norm = Norm.of(state, "embeddings.LayerNorm", shape.epsilon)
        self._first_position = shape.first_position
        self._layers = [
            Layer(state, f"encoder.layer.{number}", shape, linear_maps(dtype))
            for number in range(config.get("num_hidden_layers", 12))
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
        types = self._types[0] if batch.types is None else self._types[batch.types]
        return self._norm(self._words[batch.ids] + self._positions[self._places(batch)] + types)

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

    takes_types = True
    implied_type: int | None = 0

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        self._bert = PackedBert(state, config, dtype)
        self._pooler, self._out = (
            FloatLinear.of(state[f"{name}.weight"], state[f"{name}.bias"], torch.float32)
            for name in head_names(config)
        )

    @property
    def labels(self) -> int:
        return len(self._out.bias)

    def __call__(self, batch: Batch) -> Tensor:
        return self._out(torch.tanh(self._pooler(self._bert.first(batch))))
