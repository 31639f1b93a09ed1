"""A layer of Llama and its likes, and of Gemma 3, without padding.

As in packed.py a pass is one run of tokens, of which only attention knows where inputs begin and
end, and the stream between the layers is float32 whatever the type of the products. Queries, keys
and values are one product, and so are both halves of the gated map (Shazeer 2020,
arXiv:2002.05202).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import gelu, silu

from shardrank.models.folder.plain_decoder import DecoderShape
from shardrank.models.forward.branch_attention import Rule
from shardrank.models.forward.kept import Pair
from shardrank.models.forward.linear import Linear, linear_maps
from shardrank.models.forward.rope import paired, turn
from shardrank.models.forward.state import State

_GATES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "gelu": partial(gelu, approximate="tanh"),
}


class Attending(Protocol):
    """What a pass knows of its inputs."""

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """What a layer's tokens attend to, [t, heads, d] of queries [t, heads, d] and their keys
        and values [t, key heads, d]."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Root mean square normalisation in float32 (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, state: State, name: str, shape: DecoderShape) -> "Scale":
        """That of the state's `name`."""
        weight = state[f"{name}.weight"].float()
        return cls(weight + 1 if shape.lifted else weight, shape.epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        squares = vector_norm(x, dim=-1, keepdim=True).square_()
        found: Tensor = x * squares.div_(x.shape[-1]).add_(self.epsilon).rsqrt_()
        return found.mul_(self.weight)


class Layer:
    """One layer: attention, then a gated map, each of the normalised stream and added to it."""

    def __init__(self, state: State, number: int, shape: DecoderShape, dtype: str) -> None:
        name, make = f"model.layers.{number}", linear_maps(dtype)
        own = f"{name}.self_attn"

        def joined(biased: bool, *maps: str) -> Linear:
            weight = torch.cat([state[f"{each}.weight"] for each in maps])
            bias = torch.cat([state[f"{each}.bias"] for each in maps]) if biased else None
            return make(weight, bias)

        def scale(norm: str) -> Scale:
            return Scale.of(state, f"{name}.{norm}", shape)

        self._number, self._shape = number, shape
        self._rule = Rule(shape.scale, shape.windows[number], both=shape.both)
        pair_planes(state, own, shape)
        self._all = joined(shape.biased, *(f"{own}.{kind}_proj" for kind in "qkv"))
        self._out = joined(shape.out_biased, f"{own}.o_proj")
        self._gate = _GATES[shape.gate]
        self._gate_up = joined(shape.mlp_biased, f"{name}.mlp.gate_proj", f"{name}.mlp.up_proj")
        self._down = joined(shape.mlp_biased, f"{name}.mlp.down_proj")
        # What comes between attention and the gated map has one name and two uses.
        after = "pre_feedforward_layernorm" if shape.sandwiched else "post_attention_layernorm"
        self._before, self._between = scale("input_layernorm"), scale(after)
        ends = ("post_attention_layernorm", "post_feedforward_layernorm")
        self._ends = [scale(end) for end in ends] if shape.sandwiched else []
        self._heads = [scale(f"self_attn.{k}_norm") for k in ("qk" if shape.normed else "")]

    def __call__(
        self, x: Tensor, turns: Tensor, step: Attending, wanted: Tensor | None = None
    ) -> Tensor:
        """float32[t, d] → float32[t, d], or of the wanted tokens only; x may be overwritten."""
        heads = self._shape.heads
        every = self._all.attended(self._before(x)).view(len(x), -1, self._shape.head_width)
        queries = self._turned(every[:, :heads], turns, 0)
        new = self._keys_values(every[:, heads:], turns)
        found = step.attend(self._number, queries, new, self._rule).flatten(1)
        if wanted is not None:
            x, found = x[wanted], found[wanted]
        return self._finish(x, found)

    def of(self, x: Tensor, turns: Tensor, step: Attending, wanted: Tensor) -> Tensor:
        """float32[t, d] → float32[w, d] of the wanted tokens, which alone the pass asks for."""
        width, normed = self._shape.head_width, self._before(x)
        asking = self._query.attended(normed[wanted]).view(len(wanted), -1, width)
        queries = self._turned(asking, turns[wanted], 0)
        new = self._keys_values(self._key_value.attended(normed).view(len(x), -1, width), turns)
        found = step.attend(self._number, queries, new, self._rule).flatten(1)
        return self._finish(x[wanted], found)

    @cached_property
    def _query(self) -> Linear:
        return self._all.part(0, self._shape.heads * self._shape.head_width)

    @cached_property
    def _key_value(self) -> Linear:
        return self._all.part(self._shape.heads * self._shape.head_width, None)

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self._added(x, self._out, attended, 0)
        gate, up = self._gate_up(self._between(x)).chunk(2, 1)
        return self._added(x, self._down, self._gate(gate).mul_(up), 1)

    def _added(self, x: Tensor, out: Linear, found: Tensor, which: int) -> Tensor:
        if not self._ends:
            return out.plus(found, x)
        return x.add_(self._ends[which](out(found)))

    def _keys_values(self, x: Tensor, turns: Tensor) -> Pair:
        count = self._shape.key_heads
        return self._turned(x[:, :count], turns, 1), x[:, count:]

    def _turned(self, x: Tensor, turns: Tensor, which: int) -> Tensor:
        """Queries (0) or keys (1), normalised where the model does so, and turned."""
        kind = x.dtype
        return turn(self._heads[which](x) if self._heads else x, turns).to(kind)


def pair_planes(state: State, name: str, shape: DecoderShape) -> None:
    """Reorder the rows of a layer's queries and keys as `paired` does."""
    for kind in "qk":
        ending = (f"{kind}_proj.weight", *([f"{kind}_proj.bias"] if shape.biased else []),
                  *([f"{kind}_norm.weight"] if shape.normed else []))  # fmt: skip
        for end in ending:
            state[f"{name}.{end}"] = paired(state[f"{name}.{end}"], shape.head_width)
