"""Weights of all terms of a vocabulary by their similarity to a text's tokens: VDR (Zhou et al.,
ICLR 2024, arXiv:2212.07699), w_j = max_i elu(norm(h_i) · e_j) + 1, where e_j is a term's word
embedding. Kept are the `top` strongest, and a text's own tokens whatever they weigh.

The authors' code takes the maximum over a batch's padding too, so that a text's weights hang on its
neighbours (jzhoubu/VDR, VDREncoder.forward); here they are those of the text alone.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import elu

from shardrank.core.arrays import Int32, Int64
from shardrank.core.sparse import SparseRows
from shardrank.models.encoders.embedder import Side
from shardrank.models.encoders.single_inputs import in_order, single_inputs
from shardrank.models.encoders.splade import Pool, active_terms, pooled, reduced
from shardrank.models.folder.vdr import NORM, NORM_EPSILON, SpaceTower, space_weights
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import Runner
from shardrank.models.forward.language_model import Decoder, room
from shardrank.models.forward.linear import DTYPES
from shardrank.models.forward.norm import Norm
from shardrank.models.forward.packed import PackedBert
from shardrank.models.forward.state import State, read_whole_state
from shardrank.models.text.tokens import FastTokeniser

_WORDS = "embeddings.word_embeddings.weight"


class SpaceWeigher:
    """A BERT whose states are compared with its word embeddings (protocol: Weigher)."""

    def __init__(
        self, tower: SpaceTower, state: State, tokeniser: FastTokeniser, runner: Runner, dtype: str
    ) -> None:
        self.tokeniser, self._runner = tokeniser, runner
        self._shift, self._top = tower.shift, tower.top
        self._bert = PackedBert(state, tower.source.config, dtype)
        self._norm = Norm.of(state, NORM, NORM_EPSILON)
        self._decoder = Decoder(state[_WORDS][tower.shift :].to(DTYPES[dtype]), None)

    @torch.inference_mode()
    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        order: list[Int64] = []
        found: list[SparseRows] = []
        for batch in self._runner.batches(single_inputs(self._bert, self.tokeniser, ids, side)):
            for rows, kept in self._kept(batch):
                order.append(rows)
                terms = active_terms(kept)
                shifted = terms.terms + np.uint64(self._shift)
                found.append(SparseRows(terms.ends, shifted, terms.weights))
        return in_order(found, order)

    def _kept(self, batch: Batch) -> Iterator[tuple[Int64, Tensor]]:
        """Some texts of a batch at a time, and float32[n, terms], 0 where a term is not kept."""
        most = room(len(self._decoder.weight), self._runner.device)
        space, states = self._decoder.space(most), self._norm(self._bert.hidden(batch))
        done, tokens = 0, torch.split(batch.ids, batch.sizes.tolist())
        for dense in pooled(states, batch.sizes, lambda x: self._decoder(x, space), _POOL, most):
            end = done + len(dense)
            yield batch.rows[done:end], dense * self._mask(dense, tokens[done:end])
            done = end

    def _mask(self, dense: Tensor, tokens: Sequence[Tensor]) -> Tensor:
        """bool[n, terms]: each text's strongest terms, and its own tokens."""
        if self._top is None:
            return torch.ones_like(dense, dtype=torch.bool)
        strongest = dense.topk(min(self._top, dense.shape[1]), sorted=False).indices
        mask = torch.zeros_like(dense, dtype=torch.bool).scatter_(1, strongest, True)
        for row, ids in zip(mask, tokens, strict=True):
            row[ids[ids >= self._shift] - self._shift] = True
        return mask


def load_space(
    tower: SpaceTower, tokeniser: FastTokeniser, runner: Runner, dtype: str
) -> SpaceWeigher:
    """The model of a folder, on the runner's device.

    Raises:
        InputError: a weight is missing.
    """
    whole = read_whole_state(tower.source)
    names = space_weights(whole, tower)
    state = State({bare: whole[name] for bare, name in names.items()}, whole.folder)
    return SpaceWeigher(tower, state.moved(runner.device), tokeniser, runner, dtype)


def _largest(logits: Tensor, sizes: Int64) -> Tensor:
    """Weights rise with logits, so that the largest logit has the largest weight."""
    return elu(reduced(logits, sizes, "max").float()) + 1


_POOL = Pool(_largest, lambda pieces: pieces.amax(0, True))
