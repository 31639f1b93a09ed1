"""What encoders and rerankers ask of the transformer below them, and how most models give it.

`PaddedNetwork` runs any model of transformers as it is, on padded rows. The architectures that
`packed.py` knows run without padding, by our own forward pass.
"""

from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pipelines.models.batch import Batch


class Network(Protocol):
    """A transformer: a batch → hidden states of its last layer."""

    def hidden(self, batch: Batch) -> Tensor:
        """[t, d], of all tokens, in the order of the batch."""

    def first(self, batch: Batch) -> Tensor:
        """[b, d], of the first token of each input."""


class Classifier(Protocol):
    """A sequence classifier with one label: a batch → logits."""

    def __call__(self, batch: Batch) -> Tensor:
        """float32[b, 1]."""


class PaddedNetwork:
    """A model of transformers (protocol: Network)."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    def hidden(self, batch: Batch) -> Tensor:
        rows, real = pad(batch, self._pad_id)
        found: Tensor = self._model(input_ids=rows, attention_mask=real)[0]
        return found.flatten(0, 1)[batch.cells]

    def first(self, batch: Batch) -> Tensor:
        return self.hidden(batch)[batch.ends[:-1]]


class PaddedClassifier:
    """A classifier of transformers (protocol: Classifier)."""

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    def __call__(self, batch: Batch) -> Tensor:
        rows, real = pad(batch, self._pad_id)
        typed = {} if batch.types is None else {"token_type_ids": _spread(batch, batch.types, 0)}
        output = self._model(input_ids=rows, attention_mask=real, **typed)
        return output.logits.float()  # type: ignore[no-any-return]


def pad(batch: Batch, pad_id: int) -> tuple[Tensor, Tensor]:
    """int64[b, longest] ids, filled on the right, and as many masks: 1 where ids are real."""
    places = torch.arange(batch.longest, device=batch.ids.device)
    real = places < batch.lengths[:, None]
    return _spread(batch, batch.ids, pad_id), real.long()


def _spread(batch: Batch, flat: Tensor, fill: int) -> Tensor:
    """A batch's tokens as padded rows."""
    shape = len(batch.sizes), batch.longest
    rows = torch.full(shape, fill, dtype=flat.dtype, device=flat.device)
    rows.view(-1)[batch.cells] = flat
    return rows
