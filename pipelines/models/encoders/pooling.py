"""From a text's token vectors h_1 … h_n to one vector (Reimers & Gurevych 2019, arXiv:1908.10084).

Sums are in float32 whatever the model's type. Where a prompt is left out, its tokens are those
before the first that counts, and the others keep their places (sentence-transformers 6.2,
Pooling._forward_padded).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from shardrank.models.forward.batch import Batch
from shardrank.models.forward.network import Network

#: Gives float32[b, d], or float32[b, m·d] for m modes side by side.
Pool = Callable[[Network, Batch], Tensor]


@dataclass(frozen=True, eq=False)
class Hidden:
    """A batch's hidden states, of which the first `skip` of each input do not count.

    Attributes:
        states: float32[t, d], of all tokens.
        batch: whose states they are.
        skip: tokens of the prompt, with special ones in front of it.
    """

    states: Tensor
    batch: Batch
    skip: int

    @cached_property
    def lengths(self) -> Tensor:
        """int64[b]: how many of each input count."""
        return (self.batch.lengths - self.skip).clamp(min=0)

    def kept(self, rows: Tensor) -> Tensor:
        """Of rows for all tokens, those for tokens that count."""
        return rows[self.batch.places >= self.skip] if self.skip else rows

    def reduce(self, rows: Tensor, how: str) -> Tensor:
        """float32[b, d]: of rows for tokens that count, the sum or maximum of each input."""
        # Unsafe leaves out two checks that would each wait for a GPU; a batch's lengths do add up.
        return torch.segment_reduce(rows, how, lengths=self.lengths, unsafe=True)

    @cached_property
    def sums(self) -> Tensor:
        """float32[b, d]: Σ_i h_i."""
        return self.reduce(self.kept(self.states), "sum")

    @cached_property
    def counts(self) -> Tensor:
        """float32[b, 1]: n, but 1 where nothing counts."""
        return self.lengths.clamp(min=1)[:, None].float()


def mean(hidden: Hidden) -> Tensor:
    """(1/n) · Σ_i h_i over the n tokens."""
    return hidden.sums / hidden.counts


def mean_sqrt_len(hidden: Hidden) -> Tensor:
    """(1/√n) · Σ_i h_i."""
    return hidden.sums / hidden.counts.sqrt()


def weightedmean(hidden: Hidden) -> Tensor:
    """Σ_i i·h_i / Σ_i i: later tokens, of which a causal model's have seen more, weigh more."""
    weights = hidden.kept(hidden.batch.places + 1)[:, None].float()
    total = hidden.reduce(weights, "sum").clamp(min=1)
    return hidden.reduce(hidden.kept(hidden.states) * weights, "sum") / total


def largest(hidden: Hidden) -> Tensor:
    """max_i h_i, component by component."""
    return hidden.reduce(hidden.kept(hidden.states), "max")


def cls(hidden: Hidden) -> Tensor:
    """The first vector that counts; h_1 where none does."""
    beyond = torch.where(hidden.lengths > 0, hidden.skip, 0)
    return hidden.states[hidden.batch.ends[:-1] + beyond]


def last(hidden: Hidden) -> Tensor:
    """h_n, the vector of the last token: the only one that a causal model lets see all."""
    return hidden.states[hidden.batch.ends[1:] - 1] * (hidden.lengths > 0)[:, None]


MODES: Mapping[str, Callable[[Hidden], Tensor]] = {
    "mean": mean,
    "cls": cls,
    "last": last,
    "max": largest,
    "mean_sqrt_len": mean_sqrt_len,
    "weightedmean": weightedmean,
}


def make_pool(modes: Sequence[str], skip: int = 0) -> Pool:
    """The pooling by modes, side by side in their order.

    Args:
        modes: our names, as in MODES.
        skip: tokens at the front of every input that do not count.
    """
    if len(modes) == 1 and modes[0] in _ONE and not skip:
        return _ONE[modes[0]]

    def pool(network: Network, batch: Batch) -> Tensor:
        hidden = Hidden(network.hidden(batch).float(), batch, skip)
        return torch.cat([MODES[mode](hidden) for mode in modes], dim=1)

    return pool


def _first(network: Network, batch: Batch) -> Tensor:
    """As `cls`, by networks that need compute no other token's last state."""
    return network.first(batch).float()


def _last(network: Network, batch: Batch) -> Tensor:
    """As `last`, likewise."""
    return network.last(batch).float()


#: Poolings of which a network need compute one token's last state only.
_ONE: Mapping[str, Pool] = {"cls": _first, "last": _last}
