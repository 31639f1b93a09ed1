"""Causal language models that run packed: what all inputs of a call begin with is computed once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.sampling import Sampling
from shardrank.core.tally import spend
from shardrank.models.forward.batch import send
from shardrank.models.forward.branches import common_prefix, one_run, pack, stem_pieces
from shardrank.models.forward.causal import CausalModel, Pass
from shardrank.models.forward.distinct import distinct
from shardrank.models.forward.kept import Kept
from shardrank.models.forward.writing import AnswerWriter, Asked


class PackedDecoder:
    """A causal language model whose layers are told of stem and branches (protocol: Decoder)."""

    def __init__(
        self, model: CausalModel, device: torch.device, batch_tokens: int, way: str
    ) -> None:
        self.way = way
        self._model = model
        self._device = device
        self._budget = batch_tokens
        self._before = np.empty(0, np.int32), Kept(0)

    @torch.inference_mode()
    def last_logits(self, inputs: Sequence[Int32], answers: Int32) -> Float32:
        found = np.empty((len(inputs), len(answers)), np.float32)
        if not inputs:
            return found
        each, which = distinct(inputs)
        lengths = _lengths(each)
        stem = min(common_prefix(each), int(lengths.min()) - 1)
        asked = send(answers.astype(np.int64), self._device)
        kept = self._stem(each[0][:stem], stem)
        made = np.empty((len(each), len(answers)), np.float32)
        for branches in pack(each, lengths - 1, stem, self._budget, self._device):
            made[branches.rows] = self._model.logits(Pass(branches, kept), asked).cpu().numpy()
            spend("tokens", len(branches.ids))
        found[:] = made[which]
        return found

    @torch.inference_mode()
    def logprobs(self, inputs: Sequence[Int32], begins: Sequence[int]) -> list[Float32]:
        if not inputs:
            return []
        firsts = np.array(begins, np.int64) - 1
        assert (firsts >= 0).all()
        assert (firsts < _lengths(inputs)).all()
        stem = min(common_prefix(inputs), int(firsts.min()))
        kept = self._stem(inputs[0][:stem], stem)
        found: list[Float32] = [np.empty(0, np.float32)] * len(inputs)
        without_last = [tokens[:-1] for tokens in inputs]
        for branches in pack(without_last, firsts, stem, self._budget, self._device):
            told = [inputs[row][firsts[row] + 1 :] for row in branches.rows]
            targets = send(np.concatenate(told).astype(np.int64), self._device)
            made = self._model.logprobs(Pass(branches, kept), targets).cpu().numpy()
            ends = np.cumsum([len(one) for one in told])[:-1]
            for row, mine in zip(branches.rows, np.split(made, ends), strict=True):
                found[row] = mine
            spend("tokens", len(branches.ids))
        return found

    @torch.inference_mode()
    def generate(
        self,
        inputs: Sequence[Int32],
        most: int,
        ends: frozenset[int],
        sampling: Sampling | None = None,
    ) -> list[Int32]:
        if not inputs or most < 1:
            return [np.empty(0, np.int32)] * len(inputs)
        each, which = distinct(inputs)
        stem = min(common_prefix(each), int(_lengths(each).min()) - 1)
        kept = self._stem(each[0][:stem], stem)
        writer = AnswerWriter(self._model, self._device, self._budget)
        return writer.write(Asked(each, kept, which, most, ends, sampling))

    @torch.inference_mode()
    def attended(self, input: Int32, asking: range) -> Float32:
        kept = self._stem(input[: asking.start], len(input))
        found = torch.zeros(len(input), device=self._device)
        for begin in range(asking.start, asking.stop, self._budget):
            piece = input[begin : min(begin + self._budget, asking.stop)]
            self._grow(piece, kept, found[: begin + len(piece)])
        return found.cpu().numpy()

    def _stem(self, tokens: Int32, room: int) -> Kept:
        """The keys and values of the tokens that all branches begin with.

        Pieces that the call before computed are taken from it. A stem is always cut in the same
        places, so that this changes no bit.
        """
        before, kept_before = self._before
        pieces, same = stem_pieces(len(tokens), self._budget), common_prefix([before, tokens])
        shared = {*pieces} & {*stem_pieces(len(before), self._budget)}
        done = max((end for _, end in shared if end <= same), default=0)
        kept = Kept.begun(kept_before, done, room)
        for begin, end in pieces:
            if begin >= done:
                self._grow(tokens[begin:end], kept)
        self._before = tokens, kept
        return kept

    def _grow(self, piece: Int32, kept: Kept, watched: Tensor | None = None) -> None:
        """Put the keys and values of a piece behind those that are kept. What all of it is attended
        to is added to what is watched."""
        run = one_run(piece, kept.length, [], self._device)
        asking = None if watched is None else slice(0, len(piece))
        self._model.logits(Pass(run, kept, True, asking, watched), None)
        kept.grow(len(piece))
        spend("tokens", len(piece))


def _lengths(inputs: Sequence[Int32]) -> Int64:
    return np.array([len(tokens) for tokens in inputs], np.int64)
