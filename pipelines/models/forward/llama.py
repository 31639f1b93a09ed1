"""Llama and its likes without padding: `is_plain_decoder` in folder/plain_decoder.py says which.

As in packed.py a pass is one run of tokens, of which only attention knows where branches begin and
end, and the stream between the layers is float32 whatever the type of the products. Queries, keys
and values are one product, and so are both halves of the gated map (Shazeer 2020,
arXiv:2002.05202). The last layer goes on from attention with the wanted tokens only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import linear, silu

from shardrank.models.folder.plain_decoder import WORDS, Config, DecoderShape, head_weight
from shardrank.models.forward.branch_attention import Rule
from shardrank.models.forward.causal import Pass, chosen, room
from shardrank.models.forward.linear import DTYPES, FloatLinear
from shardrank.models.forward.rope import Turns, paired, turn
from shardrank.models.forward.state import State


@dataclass(frozen=True, eq=False)
class Scale:
    """Root mean square normalisation in float32 (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, state: State, name: str, epsilon: float) -> "Scale":
        """That of the state's `name`."""
        return cls(state[f"{name}.weight"].float(), epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        squares = vector_norm(x, dim=-1, keepdim=True).square_()
        found: Tensor = x * squares.div_(x.shape[-1]).add_(self.epsilon).rsqrt_()
        return found.mul_(self.weight)


def joined(state: State, names: list[str], biased: bool, dtype: torch.dtype) -> FloatLinear:
    """The state's maps of these names, side by side."""
    weight = torch.cat([state[f"{name}.weight"] for name in names])
    bias = torch.cat([state[f"{name}.bias"] for name in names]) if biased else None
    return FloatLinear.of(weight, bias, dtype)


class Layer:
    """One layer: attention, then a gated map, each of the normalised stream and added to it."""

    def __init__(self, state: State, number: int, shape: DecoderShape, dtype: torch.dtype) -> None:
        name, width = f"model.layers.{number}", shape.head_width
        own = f"{name}.self_attn"
        self._number, self._shape = number, shape
        self._rule = Rule(width**-0.5, shape.windows[number])
        pair_planes(state, own, shape)
        every = [f"{own}.{kind}_proj" for kind in "qkv"]
        self._all = joined(state, every, shape.biased, dtype)
        self._out = joined(state, [f"{own}.o_proj"], shape.out_biased, dtype)
        both = [f"{name}.mlp.{kind}_proj" for kind in ("gate", "up")]
        self._gate_up = joined(state, both, shape.mlp_biased, dtype)
        self._down = joined(state, [f"{name}.mlp.down_proj"], shape.mlp_biased, dtype)
        self._before = Scale.of(state, f"{name}.input_layernorm", shape.epsilon)
        self._between = Scale.of(state, f"{name}.post_attention_layernorm", shape.epsilon)
        self._heads = [
            Scale.of(state, f"{own}.{kind}_norm", shape.epsilon)
            for kind in ("qk" if shape.normed else "")
        ]

    def __call__(self, x: Tensor, turns: Tensor, step: Pass, wanted: Tensor | None) -> Tensor:
        """float32[t, d] → float32[t, d], or of the wanted tokens only."""
        heads, key_heads = self._shape.heads, self._shape.key_heads
        every = self._all(self._before(x)).view(len(x), -1, self._shape.head_width)
        values = every[:, heads + key_heads :]
        turned = self._turned(every[:, : heads + key_heads], turns)
        queries, keys = turned[:, :heads], turned[:, heads:]
        found = step.attend(self._number, queries, (keys, values), self._rule).flatten(1)
        if wanted is not None:
            x, found = x[wanted], found[wanted]
        x = self._out.plus(found, x)
        gate, up = self._gate_up(self._between(x)).chunk(2, 1)
        return self._down.plus(silu(gate).mul_(up), x)

    def _turned(self, x: Tensor, turns: Tensor) -> Tensor:
        if self._heads:
            parts = x[:, : self._shape.heads], x[:, self._shape.heads :]
            normed = [scale(part) for scale, part in zip(self._heads, parts, strict=True)]
            x = torch.cat(normed, 1).to(x.dtype)
        return turn(x, turns)


def pair_planes(state: State, name: str, shape: DecoderShape) -> None:
    """Reorder the rows of a layer's queries and keys as `paired` does."""
    for kind in "qk":
        ending = (f"{kind}_proj.weight", *([f"{kind}_proj.bias"] if shape.biased else []),
                  *([f"{kind}_norm.weight"] if shape.normed else []))  # fmt: skip
        for end in ending:
            state[f"{name}.{end}"] = paired(state[f"{name}.{end}"], shape.head_width)


class LlamaDecoder:
    """Llama's kind (protocol: CausalModel)."""

    def __init__(self, state: State, config: Config, dtype: str) -> None:
        shape, kind = DecoderShape.of(config), DTYPES[dtype]
        self._words = state[WORDS].to(kind)
        head = head_weight(config, state)
        self._head = self._words if head == WORDS else state[head].to(kind)
        self._turns = Turns.of(config, shape.head_width, self._words.device)
        self._layers = [Layer(state, number, shape, kind) for number in range(shape.layers)]
        self._norm = Scale.of(state, "model.norm", shape.epsilon)

    def logits(self, step: Pass, answers: Tensor | None) -> Tensor:
        head = self._head if answers is None else self._head[answers]
        return linear(self._states(step), head).float()

    def logprobs(self, step: Pass, targets: Tensor) -> Tensor:
        count, states = room(len(self._head), self._head.device), self._states(step)
        parts = [slice(begin, begin + count) for begin in range(0, len(states), count)]
        made = [chosen(linear(states[mine], self._head).float(), targets[mine]) for mine in parts]
        return torch.cat(made)

    def _states(self, step: Pass) -> Tensor:
        """[w, d] of the wanted tokens, in the type of the head."""
        branches = step.branches
        x = self._words[branches.ids].float()
        turns = self._turns.at(branches.places)
        for layer in self._layers[:-1]:
            x = layer(x, turns, step, None)
        x = self._layers[-1](x, turns, step, branches.wanted)
        return self._norm(x).to(self._head.dtype)
