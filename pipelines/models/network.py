"""What encoders and rerankers ask of the transformer below them.

`packed.py` runs the architectures that it knows without padding, by our own forward pass;
`padded.py` runs any other as the library transformers has it.
"""

from typing import Protocol

from torch import Tensor

from pipelines.models.batch import Batch


class Network(Protocol):
    """A transformer: a batch → hidden states of its last layer."""

    def hidden(self, batch: Batch) -> Tensor:
        """[t, d], of all tokens, in the order of the batch."""

    def first(self, batch: Batch) -> Tensor:
        """[b, d], of the first token of each input."""


class Classifier(Protocol):
    """A sequence classifier: a batch → logits."""

    def __call__(self, batch: Batch) -> Tensor:
        """float32[b, labels]."""

    @property
    def labels(self) -> int:
        """How many there are; a reranker has one."""

    @property
    def token_types(self) -> int:
        """How many the model knows: RoBERTa one and DistilBERT none, so that it is told nothing
        of where a passage begins."""
