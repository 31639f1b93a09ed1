"""ModernBERT without padding (Warner et al. 2024, arXiv:2412.13663): `is_modern` in
folder/modern.py says which models these are.

As in packed.py a batch is one run of tokens, and the stream between the layers is float32 whatever
the type of the products. Norms come before the maps, so each map that adds to the stream also makes
what the next one takes. Most layers attend to near tokens only (`near_attention.py`). Where only
the first token's state is wanted, the last layer computes no other.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modern import PREFIX, Config, ModernShape, pools_mean
from shardrank.models.forward.attention import attend
from shardrank.models.forward.attention_fp32 import attends_in_loops
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.fused import is_short
from shardrank.models.forward.linear import FloatLinear, MakeLinear, linear_maps
from shardrank.models.forward.near_attention import Near, attend_near
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.rope import Turns, paired, turn
from shardrank.models.forward.state import State, read_whole_state


def read_modern_state(layout: Layout) -> State:
    """All weights of a model that `is_modern`, by the encoder's own names."""
    state = read_whole_state(layout)
    bare = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    return State(bare, layout.transformer)


@dataclass(frozen=True, eq=False)
class Angles:
    """How far the planes of each token's heads are turned: float32[t, d/2] each."""

    cosines: Tensor
    sines: Tensor

    @classmethod
    def of(cls, turns: Turns, places: Tensor) -> "Angles":
        """At the places int64[t]."""
        angles = places[:, None].float() * turns.frequencies
        return cls(angles.cos(), angles.sin())

    @cached_property
    def turns(self) -> Tensor:
        """complex64[t, d/2]."""
        return torch.complex(self.cosines, self.sines)

    @cached_property
    def doubled(self) -> tuple[Tensor, Tensor]:
        """float32[t, d] each: cosines and sines for both numbers of a plane, as `turn_floats` takes
        them."""
        sines = torch.stack([-self.sines, self.sines], -1).flatten(1)
        return self.cosines.repeat_interleave(2, 1), sines

    def apply(self, x: Tensor, heads: int) -> None:
        """Turn the first heads of [t, n, d] in place; their planes lie `paired`."""
        if attends_in_loops(x):
            from shardrank.kernels.float_loops import turn_floats  # numba: see there

            cosines, sines = self.doubled
            turn_floats(x.numpy(), heads, cosines.numpy(), sines.numpy())
        elif is_short(x):
            from shardrank.kernels.gated_loops import turn_pairs  # numba: see `attends_in_bf16`

            words = x.view(torch.int32).numpy()
            turn_pairs(words, heads, self.cosines.numpy(), self.sines.numpy())
        else:
            mine = x[:, :heads]
            mine.copy_(turn(mine, self.turns))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the layers of one kind know of a batch: its turns, and how near a token attends."""

    batch: Batch
    angles: Angles
    near: Near | None

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[t, heads, d] each → [t, heads · d]."""
        if self.near is None:
            return attend(queries, keys, values, self.batch)
        return attend_near(queries, keys, values, self.near)

    def first_sees(self) -> tuple[Tensor | None, "Surroundings"]:
        """int64[n], the tokens that the first ones attend to, if not all, and their own
        surroundings, in which each first token sees all."""
        if self.near is None:
            return None, self
        tokens, batch = self.near.around_first
        angles = Angles(self.angles.cosines[tokens], self.angles.sines[tokens])
        return tokens, Surroundings(batch, angles, None)


class Layer:
    """One layer: attention, then a gated map, each of the normalised stream and added to it."""

    def __init__(self, state: State, name: str, shape: ModernShape, make: MakeLinear) -> None:
        self._heads = shape.heads
        weight, bias = _weights(state, f"{name}.attn.Wqkv")
        width = len(weight) // 3
        self._width = width // shape.heads

        def turnable(x: Tensor) -> Tensor:
            return torch.cat([paired(x[: 2 * width], self._width), x[2 * width :]])

        self._all = make(turnable(weight), None if bias is None else turnable(bias))
        self._query, self._key_value = self._all.part(0, width), self._all.part(width, None)
        self._out = make(*_weights(state, f"{name}.attn.Wo"))
        self._between = read_norm(state, f"{name}.mlp_norm", shape.epsilon)
        self._up = make(*_weights(state, f"{name}.mlp.Wi"))
        self._down = make(*_weights(state, f"{name}.mlp.Wo"))

    def __call__(self, x: Tensor, normed: Tensor, around: Surroundings, norm: Norm) -> Tensor:
        """The stream float32[t, d], which is overwritten, and as it is normalised → normalised
        again for the next layer."""
        return self._up.gate(self._attended(x, normed, around), self._down, x, norm)

    def last(self, x: Tensor, normed: Tensor, around: Surroundings, norm: Norm) -> Tensor:
        """As a call, in float32."""
        return self._down.added(self._up.gated(self._attended(x, normed, around)), x, norm)

    def first(self, x: Tensor, normed: Tensor, around: Surroundings, norm: Norm) -> Tensor:
        """As `last`, of the first token of each input: float32[b, d]."""
        starts = around.batch.ends[:-1]
        tokens, seen = around.first_sees()
        both = self._split(self._key_value.attended(normed if tokens is None else normed[tokens]))
        seen.angles.apply(both, self._heads)
        queries = self._split(self._query.attended(normed[starts]))  # at place 0, nothing turns
        keys, values = both[:, : self._heads], both[:, self._heads :]
        x = x[starts]
        found = attend(queries, keys, values, seen.batch)
        return self._down.added(self._up.gated(self._out.joined(found, x, self._between)), x, norm)

    def _attended(self, x: Tensor, normed: Tensor, around: Surroundings) -> Tensor:
        """The stream normalised, after what its tokens attend to was added."""
        every = self._split(self._all.attended(normed))
        around.angles.apply(every, 2 * self._heads)
        parts = every.view(len(x), 3, self._heads, -1).unbind(1)
        return self._out.joined(around.attend(*parts), x, self._between)

    def _split(self, x: Tensor) -> Tensor:
        """[t, n · d] → [t, n, d]: heads of queries, keys or values."""
        return x.view(len(x), -1, self._width)


class PackedModern:
    """ModernBERT's encoder (protocol: Network)."""

    takes_types = False
    implied_type: int | None = None

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape, make = ModernShape.of(config), linear_maps(dtype)
        self._words = state["embeddings.tok_embeddings.weight"].float()
        self._norm = read_norm(state, "embeddings.norm", shape.epsilon)
        names = [f"layers.{number}" for number in range(len(shape.reaches))]
        self._layers = [Layer(state, name, shape, make) for name in names]
        self._norms = [
            *(read_norm(state, f"{name}.attn_norm", shape.epsilon) for name in names[1:]),
            read_norm(state, "final_norm", shape.epsilon),
        ]
        self._reaches = shape.reaches
        width = self._words.shape[1] // shape.heads
        self._turns = {
            reach: _turns(theta, width, self._words.device)
            for reach, theta in ((None, shape.full_theta), (shape.reach, shape.near_theta))
            if reach in shape.reaches
        }

    def hidden(self, batch: Batch) -> Tensor:
        x, normed, around = self._but_last(batch)
        return self._layers[-1].last(x, normed, around, self._norms[-1])

    def first(self, batch: Batch) -> Tensor:
        x, normed, around = self._but_last(batch)
        return self._layers[-1].first(x, normed, around, self._norms[-1])

    def last(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[1:] - 1]

    def _but_last(self, batch: Batch) -> tuple[Tensor, Tensor, Surroundings]:
        """What the last layer is given: the stream, as it is normalised, and its surroundings."""
        every = {
            reach: Surroundings(
                batch, Angles.of(turns, batch.places), None if reach is None else Near(batch, reach)
            )
            for reach, turns in self._turns.items()
        }
        around = [every[reach] for reach in self._reaches]
        x = self._norm(self._words[batch.ids])
        normed = x  # the first layer has no norm of its own
        for layer, own, norm in zip(self._layers[:-1], around, self._norms, strict=False):
            normed = layer(x, normed, own, norm)
        return x, normed, around[-1]


class ModernClassifier:
    """ModernBERT with a head over its first token or the mean of all (protocol: Classifier)."""

    takes_types = False
    implied_type: int | None = None

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        self._modern = PackedModern(state, config, dtype)
        self._means = pools_mean(config)
        self._dense, self._out = (
            FloatLinear.of(*_weights(state, name), torch.float32)
            for name in ("head.dense", "classifier")
        )
        self._norm = read_norm(state, "head.norm", ModernShape.of(config).epsilon)

    @property
    def labels(self) -> int:
        return len(self._out.weight)

    def __call__(self, batch: Batch) -> Tensor:
        pooled = self._mean(batch) if self._means else self._modern.first(batch)
        return self._out(self._norm(self._dense.gelu(pooled)))

    def _mean(self, batch: Batch) -> Tensor:
        hidden, lengths = self._modern.hidden(batch), batch.lengths
        # Unsafe leaves out two checks that would each wait for a GPU; a batch's lengths do add up.
        sums = torch.segment_reduce(hidden, "sum", lengths=lengths, unsafe=True)
        return sums / lengths[:, None]


def read_norm(state: State, name: str, epsilon: float) -> Norm:
    """That of the state's `name`, with a bias where there is one."""
    if f"{name}.bias" in state:
        return Norm.of(state, name, epsilon)
    return Norm.unshifted(state[f"{name}.weight"], epsilon)


def _weights(state: State, name: str) -> tuple[Tensor, Tensor | None]:
    """A map's weight, and its bias if it has one."""
    return state[f"{name}.weight"], state.get(f"{name}.bias")


def _turns(theta: float, width: int, device: torch.device) -> Turns:
    halves = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    return Turns((1.0 / theta**halves).to(device), 1.0)
