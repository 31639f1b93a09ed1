"""What decoder.py asks of the causal language model below it.

`llama.py` runs the architectures that it knows by our own forward pass; `library_decoder.py` runs
any other as the library transformers has it.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from shardrank.models.forward.branch_attention import (
    Rule,
    attend_branches,
    attend_run,
    weights,
)
from shardrank.models.forward.branches import Branches
from shardrank.models.forward.kept import Kept, Pair

#: How many logits there may be at once: 32 MB of float32 on a CPU, where they shall stay near its
#: cache, and 1 GB on a GPU.
_LOGITS = {"cpu": 1 << 23}
_MANY_LOGITS = 1 << 28


class Step(Protocol):
    """One pass over tokens, of whatever inputs."""

    @property
    def ids(self) -> Tensor:
        """int64[t] on the device."""

    @property
    def places(self) -> Tensor:
        """int64[t] on the device: each token's place in its input, from 0."""

    @property
    def wanted(self) -> Tensor:
        """int64[w] on the device, whose states are asked for; ascending."""

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """What a layer's tokens attend to, [t, heads, d] of queries [t, heads, d] and their keys
        and values [t, key heads, d]."""


class CausalModel(Protocol):
    """A causal language model on one device."""

    def logits(self, step: Step, answers: Tensor | None) -> Tensor:
        """float32[w, a] of the answers int64[a], or of all terms, at the places that the pass
        wants."""

    def logprobs(self, step: Step, targets: Tensor) -> Tensor:
        """float32[w]: the natural logarithm of the probability of a term int64[w] at each."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over branches (protocol: Step).

    Attributes:
        branches: what is computed.
        kept: the keys and values of the tokens before them.
        keeps: whether those of the pass are put behind; it has one branch then.
        asking: of which of its tokens the attention is watched; it has one branch then.
        watched: float32[stem + t], to which what each token is given is added.
    """

    branches: Branches
    kept: Kept
    keeps: bool = False
    asking: slice | None = None
    watched: Tensor | None = None

    @property
    def ids(self) -> Tensor:
        """See the protocol."""
        return self.branches.ids

    @property
    def places(self) -> Tensor:
        """See the protocol."""
        return self.branches.places

    @property
    def wanted(self) -> Tensor:
        """See the protocol."""
        return self.branches.wanted

    def attend(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> Tensor:
        """See the protocol."""
        if self.asking is not None:
            self._watch(layer, queries, new, rule)
        if not self.keeps:
            return attend_branches(queries, new, self.kept.of(layer, new), self.branches, rule)
        return attend_run(queries, self.kept.put(layer, new), rule)

    def _watch(self, layer: int, queries: Tensor, new: Pair, rule: Rule) -> None:
        assert self.asking is not None
        assert self.watched is not None
        keys = torch.cat([self.kept.of(layer, new)[0], new[0]])
        first = self.branches.stem + self.asking.start
        self.watched.add_(weights(queries[self.asking], keys, first, rule).sum((0, 1)))


def chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """float32[w]: log-probabilities of the terms int64[w] by the logits float32[w, v]."""
    picked = logits.gather(1, targets[:, None])[:, 0]
    return picked - logits.logsumexp(1)


def room(vocabulary: int, device: torch.device) -> int:
    """Of how many tokens there may be all logits at once."""
    return max(1, _LOGITS.get(device.type, _MANY_LOGITS) // vocabulary)
