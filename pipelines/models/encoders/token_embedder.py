"""Texts' tokens → their vectors, as a model of late interaction has them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Float32, Int64
from shardrank.models.encoders.late_inputs import LateInputs
from shardrank.models.encoders.steps import Finish
from shardrank.models.forward.batch import Batch, send
from shardrank.models.forward.batches import Runner
from shardrank.models.forward.network import Network, told_types
from shardrank.models.text.tokens import FastTokeniser


@dataclass(frozen=True, eq=False)
class Embedded:
    """The token vectors of some inputs.

    Attributes:
        rows: int64[b], which inputs they are.
        sizes: int64[b], vectors of each.
        vectors: float32[t, d], input behind input.
    """

    rows: Int64
    sizes: Int64
    vectors: Float32


@dataclass(frozen=True, eq=False)
class TokenEmbedder:
    """A transformer, and what follows for each token."""

    network: Network
    tokeniser: FastTokeniser
    finish: Finish
    runner: Runner

    @torch.inference_mode()
    def embed(self, inputs: LateInputs) -> Iterator[Embedded]:
        """The vectors of tokens that count, some inputs at a time, the longest first.

        A batch is handed out when the next one was begun, so that a GPU need not wait.
        """
        waiting = None
        for batch in self.runner.batches(inputs.of_model(self._typed)):
            begun = batch.rows, *self._counted(batch, inputs)
            if waiting is not None:
                yield _taken(*waiting)
            waiting = begun
        if waiting is not None:
            yield _taken(*waiting)

    @property
    def _typed(self) -> bool:
        template = self.tokeniser.single_template()
        return told_types(self.network, self.tokeniser.typed, template.all_types)

    def _counted(self, batch: Batch, inputs: LateInputs) -> tuple[Int64, Tensor]:
        """How many vectors each input of a batch has, and they."""
        rows = [inputs.counts[row] for row in batch.rows]
        # An input without tokens has one of padding.
        counts = np.concatenate([row if len(row) else np.zeros(1, np.bool_) for row in rows])
        sizes = np.array([row.sum() for row in rows], np.int64)
        states = self.network.hidden(batch)[send(np.flatnonzero(counts), batch.ids.device)]
        return sizes, self.finish(states.float())


def _taken(rows: Int64, sizes: Int64, vectors: Tensor) -> Embedded:
    return Embedded(rows, sizes, vectors.cpu().numpy())
