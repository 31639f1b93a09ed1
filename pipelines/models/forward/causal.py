"""What rerankers ask of a causal language model below them."""

from collections.abc import Sequence
from typing import Protocol

from shardrank.core.arrays import Float32, Int32


class CausalModel(Protocol):
    """A language model that reads from left to right. Inputs are whole, special tokens included;
    what they begin with in common is computed once a call."""

    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        """float32[n, a]: logits of the answers' tokens at each input's last place."""

    def logprobs(self, inputs: Sequence[Int32], begins: Sequence[int]) -> list[Float32]:
        """Of each input the natural logarithms of the probabilities of its tokens from begins[i],
        which is at least 1, on."""

    def generate(self, input: Int32, most: int, ends: frozenset[int]) -> Int32:
        """At most so many tokens that follow, the likeliest each time; up to the first of `ends`,
        which is not among them."""

    def attended(self, input: Int32, asking: range) -> Float32:
        """float32[n]: attention after the softmax from the places `asking` to each place, summed
        over those places, heads and layers."""
