"""Causal language models that run packed: what all inputs of a call begin with is computed once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.tally import spend
from shardrank.models.forward.batch import send
from shardrank.models.forward.branches import common_prefix, one_run, pack
from shardrank.models.forward.causal import CausalModel, Pass
from shardrank.models.forward.distinct import distinct
from shardrank.models.forward.kept import Kept


class PackedDecoder:
    """A causal language model whose layers are told of stem and branches (protocol: Decoder)."""

    def __init__(
        self, model: CausalModel, device: torch.device, batch_tokens: int, way: str
    ) -> None:
        self.way = way
        self._model = model
        self._device = device
        self._budget = batch_tokens

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
    def generate(self, input: Int32, most: int, ends: frozenset[int]) -> Int32:
        kept, found = Kept(len(input) + most), list[int]()
        logits = self._run(input, kept, last=True)
        while len(found) < most and bool(torch.isfinite(logits).any()):
            token = int(logits.nan_to_num(-torch.inf).argmax())
            if token in ends:
                break
            found.append(token)
            if len(found) < most:
                logits = self._run(np.array([token], np.int32), kept, last=True)
        return np.array(found, np.int32)

    @torch.inference_mode()
    def attended(self, inputs: Sequence[Int32], asking: Sequence[range]) -> list[Float32]:
        if not inputs:
            return []
        stem = min(common_prefix(inputs), *(places.start for places in asking))
        kept, found = self._stem(inputs[0][:stem], int(_lengths(inputs).max())), list[Float32]()
        for tokens, places in zip(inputs, asking, strict=True):
            found.append(self._watch(tokens, places, kept))
            kept.shrink(stem)
        return found

    def _watch(self, tokens: Int32, asking: range, kept: Kept) -> Float32:
        """What the places give to each of the tokens, of which some are kept already."""
        found = torch.zeros(len(tokens), device=self._device)
        for begin in range(kept.length, len(tokens), self._budget):
            piece = tokens[begin : begin + self._budget]
            end = begin + len(piece)
            mine = slice(max(asking.start - begin, 0), max(min(asking.stop, end) - begin, 0))
            run = one_run(piece, begin, [], self._device)
            watched = mine.stop > mine.start
            self._model.logits(
                Pass(run, kept, True, mine, found[:end]) if watched else Pass(run, kept, True), None
            )
            kept.grow(len(piece))
            spend("tokens", len(piece))
        return found.cpu().numpy()

    def _stem(self, tokens: Int32, room: int) -> Kept:
        """The keys and values of the tokens that all branches begin with."""
        kept = Kept(room)
        if len(tokens):
            self._run(tokens, kept, last=False)
        return kept

    def _run(self, tokens: Int32, kept: Kept, last: bool) -> Tensor:
        """Put the tokens' keys and values behind those that are kept; all logits of the last one,
        float32[1, v], if they are asked for, else of none."""
        logits = torch.empty(0)
        for begin in range(0, len(tokens), self._budget):
            piece = tokens[begin : begin + self._budget]
            ending = last and begin + len(piece) == len(tokens)
            run = one_run(piece, kept.length, [len(piece) - 1] if ending else [], self._device)
            logits = self._model.logits(Pass(run, kept, keeps=True), None)
            kept.grow(len(piece))
            spend("tokens", len(piece))
        return logits


def _lengths(inputs: Sequence[Int32]) -> Int64:
    return np.array([len(tokens) for tokens in inputs], np.int64)
