"""What encoders and rerankers ask of the transformer below them.

`packed.py` runs the architectures that it knows without padding, by our own forward pass;
`padded.py` runs any other as the library transformers has it.
"""

from typing import Protocol

from torch import Tensor

from shardrank.models.forward.batch import Batch


class Typed(Protocol):
    """What a model does with token types."""

    @property
    def takes_types(self) -> bool:
        """Whether it can be told any."""

    @property
    def implied_type(self) -> int | None:
        """The type that tokens have where it is told none; none: it does something else then."""


class Network(Typed, Protocol):
    """A transformer: a batch → hidden states of its last layer."""

    def hidden(self, batch: Batch) -> Tensor:
        """[t, d], of all tokens, in the order of the batch."""

    def first(self, batch: Batch) -> Tensor:
        """[b, d], of the first token of each input."""

    def last(self, batch: Batch) -> Tensor:
        """[b, d], of the last one."""


class Classifier(Typed, Protocol):
    """A sequence classifier: a batch → logits."""

    def __call__(self, batch: Batch) -> Tensor:
        """float32[b, labels]."""

    @property
    def labels(self) -> int:
        """How many there are; a reranker has one or two."""


def told_types(network: Typed, declared: bool, types: frozenset[int]) -> bool:
    """Whether a model is told token types: sentence-transformers does so where the tokeniser
    declares them and the model takes them. `types` are those that occur.
    """
    return declared and network.takes_types and types != {network.implied_type}
