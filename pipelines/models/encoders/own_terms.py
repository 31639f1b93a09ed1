"""Weights of a text's own tokens: uniCOIL (Lin & Ma 2021, arXiv:2106.14807) and TILDEv2 (Zhuang &
Zuccon 2021, arXiv:2108.08513), w_i = relu(v · h_i + b).

The special tokens around a text have no weight. (pyserini's uniCOIL gives [SEP] one, which no query
was trained with: the authors' loss masks it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Bool, Int32, Int64
from shardrank.core.sparse import SparseRows, folded
from shardrank.models.encoders.embedder import Side
from shardrank.models.encoders.single_inputs import in_order, single_inputs
from shardrank.models.folder.own_terms import PROJECTION, CountTower, OwnTower, own_weights
from shardrank.models.forward.batch import Batch
from shardrank.models.forward.batches import Runner
from shardrank.models.forward.linear import FloatLinear
from shardrank.models.forward.packed import PackedBert
from shardrank.models.forward.state import State, read_whole_state
from shardrank.models.text.stop_words import no_tokens, stop_tokens
from shardrank.models.text.tokens import FastTokeniser

_FOLDS = {"max": np.maximum, "sum": np.add}


class OwnWeigher:
    """A BERT and its map to one number (protocol: Weigher)."""

    def __init__(
        self, tower: OwnTower, state: State, tokeniser: FastTokeniser, runner: Runner, dtype: str
    ) -> None:
        self.tokeniser, self._runner = tokeniser, runner
        self._bert = PackedBert(state, tower.source.config, dtype)
        weight, bias = (state[f"{PROJECTION}.{kind}"] for kind in ("weight", "bias"))
        self._map = FloatLinear.of(weight, bias, torch.float32)
        self._fold, self._left_out = _FOLDS[tower.repeats], _left_out(tokeniser, tower.stops)

    @torch.inference_mode()
    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        order: list[Int64] = []
        found: list[SparseRows] = []
        for batch in self._runner.batches(single_inputs(self._bert, self.tokeniser, ids, side)):
            order.append(batch.rows)
            found.append(self._rows(batch, self._map(self._bert.hidden(batch)).relu_()))
        return in_order(found, order)

    def _rows(self, batch: Batch, weights: Tensor) -> SparseRows:
        """Of the weights [t, 1] of a batch's tokens; what is NaN stays."""
        terms, found = batch.ids.cpu().numpy(), weights.squeeze(1).float().cpu().numpy()
        kept = ~self._left_out[terms] & (found != 0)
        row = np.repeat(np.arange(len(batch.sizes)), batch.sizes)[kept]
        return folded(row, terms[kept].astype(np.uint64), found[kept], len(batch.sizes), self._fold)


@dataclass(frozen=True, eq=False)
class CountWeigher:
    """How often tokens occur (protocol: Weigher)."""

    tower: CountTower
    tokeniser: FastTokeniser

    def weigh(self, ids: Sequence[Int32], side: Side) -> SparseRows:
        left_out = _left_out(self.tokeniser, self.tower.stops)
        cut = [row[: side.max_tokens - self.tokeniser.specials] for row in ids]
        terms = np.concatenate([np.zeros(0, np.int32), *cut])
        kept = ~left_out[terms]
        row = np.repeat(np.arange(len(cut)), [len(each) for each in cut])[kept]
        fold = np.maximum if self.tower.once else np.add
        ones = np.ones(len(row), np.float32)
        return folded(row, terms[kept].astype(np.uint64), ones, len(cut), fold)


def load_own(tower: OwnTower, tokeniser: FastTokeniser, runner: Runner, dtype: str) -> OwnWeigher:
    """The model of a folder, on the runner's device.

    Raises:
        InputError: a weight is missing.
    """
    whole = read_whole_state(tower.source)
    names = own_weights(whole, tower.source)
    state = State({bare: whole[name] for bare, name in names.items()}, whole.folder)
    return OwnWeigher(tower, state.moved(runner.device), tokeniser, runner, dtype)


def _left_out(tokeniser: FastTokeniser, stops: bool) -> Bool:
    """bool[ids]."""
    return stop_tokens(tokeniser) | no_tokens(tokeniser) if stops else no_tokens(tokeniser)
