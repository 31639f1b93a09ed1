"""Answers of causal language models, several beside each other.

Each step is one pass over the next token of every answer, so that a weight that is read from memory
once serves all of them. What has ended leaves its lane.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Int32, Int64
from shardrank.core.sampling import Sampling
from shardrank.core.tally import spend
from shardrank.models.forward.batch import send
from shardrank.models.forward.branches import pack
from shardrank.models.forward.causal import CausalModel
from shardrank.models.forward.kept import Kept
from shardrank.models.forward.lanes import Lanes, Onward, Opening

#: Tokens whose keys and values there may be at once, for each token of a pass.
_KEPT = 4


@dataclass(frozen=True, eq=False)
class Asked:
    """Inputs of which answers are wanted.

    Attributes:
        inputs: different token lists that begin with the same stem, and go on.
        stem: the keys and values of its tokens.
        which: int64[n], the input of each answer.
        most: tokens of an answer, at most.
        ends: tokens that end one.
        sampling: of the n answers; none: the likeliest token is taken.
    """

    inputs: Sequence[Int32]
    stem: Kept
    which: Int64
    most: int
    ends: frozenset[int]
    sampling: Sampling | None

    @property
    def own(self) -> Int64:
        """int64[n]: tokens of each answer's input behind the stem."""
        sizes = np.array([len(tokens) for tokens in self.inputs], np.int64) - self.stem.length
        return sizes[self.which]

    def of(self, answers: Int64) -> "Asked":
        """Some of the answers, and their inputs."""
        used, which = np.unique(self.which[answers], return_inverse=True)
        inputs = [self.inputs[row] for row in used]
        drawn = None if self.sampling is None else self.sampling.of(answers.tolist())
        return Asked(inputs, self.stem, which.astype(np.int64), self.most, self.ends, drawn)


@dataclass(frozen=True, eq=False)
class AnswerWriter:
    """Writes on a device, in passes of at most `budget` tokens."""

    model: CausalModel
    device: torch.device
    budget: int

    def write(self, asked: Asked) -> list[Int32]:
        """int32 tokens of each answer; see `Decoder.generate`."""
        found: list[Int32] = [np.empty(0, np.int32)] * len(asked.which)
        for answers in plan_rounds(asked.own, asked.which, asked.most, self.budget * _KEPT):
            for answer, made in zip(answers, self._round(asked.of(answers)), strict=True):
                found[answer] = np.array(made, np.int32)
        return found

    def _round(self, asked: Asked) -> list[list[int]]:
        made: list[list[int]] = [[] for _ in asked.which]
        answers = np.arange(len(made))
        lanes = Lanes(asked.stem, asked.own, int(asked.own.max()) + asked.most)
        logits = self._open(asked, lanes)
        for step in range(asked.most):
            tokens = next_tokens(logits, answers, step, asked.sampling)
            going = np.array([t >= 0 and t not in asked.ends for t in tokens.tolist()])
            for answer, token in zip(answers[going], tokens[going], strict=True):
                made[answer].append(int(token))
            if step + 1 == asked.most or not going.any():
                break
            order = lanes.keep(np.flatnonzero(going))
            answers = answers[order]
            logits = self._onward(lanes, tokens[order])
        return made

    def _open(self, asked: Asked, lanes: Lanes) -> Tensor:
        """float32[n, v]: the logits behind each answer's input, which its lane holds from now."""
        stem = asked.stem.length
        lasts = np.array([len(tokens) for tokens in asked.inputs], np.int64) - 1
        found: list[Tensor] = [torch.empty(0)] * len(asked.which)
        for branches in pack(asked.inputs, lasts, stem, self.budget, self.device):
            begins = [np.flatnonzero(asked.which == row) for row in branches.rows]
            made = self.model.logits(Opening(branches, lanes, begins), None)
            spend("tokens", len(branches.ids))
            for logits, mine in zip(made, begins, strict=True):
                for lane in mine:
                    found[lane] = logits
        return torch.stack(found)

    def _onward(self, lanes: Lanes, tokens: Int64) -> Tensor:
        """float32[m, v]: the logits behind one more token of each lane."""
        logits = self.model.logits(Onward(send(tokens, self.device), lanes), None)
        lanes.grow()
        spend("tokens", len(tokens))
        return logits


def plan_rounds(own: Int64, which: Int64, most: int, room: int) -> list[Int64]:
    """Which answers are written beside each other: those of one input, and of inputs of like
    lengths, the longest first.

    Args:
        own: int64[n], tokens of each answer's input behind the stem.
        which: int64[n], the input of each answer.
        most: tokens of an answer.
        room: tokens of a round's lanes together, which are as long as its longest; a lane that is
            longer is a round of its own.

    Returns:
        Row numbers, int64 for each round; every answer is in exactly one.
    """
    order = np.lexsort((which, -own))
    rounds, begin = list[Int64](), 0
    while begin < len(order):
        end = begin + max(1, room // int(own[order[begin]] + most))
        rounds.append(order[begin:end])
        begin = end
    return rounds


def next_tokens(logits: Tensor, answers: Int64, step: int, sampling: Sampling | None) -> Int64:
    """int64[m], the token after each of some answers by its logits float32[m, v]; -1: all logits
    are no numbers."""
    chosen = drawn(logits, answers, step, sampling).argmax(1)
    none = ~torch.isfinite(logits).any(1)
    found: Int64 = chosen.masked_fill(none, -1).cpu().numpy()
    return found


def drawn(logits: Tensor, answers: Int64, step: int, sampling: Sampling | None) -> Tensor:
    """float32[m, v], the largest of which is the token that is taken: the logits, or with the noise
    of some answers' draws (see `Sampling`)."""
    scores = logits.nan_to_num(-torch.inf)
    if sampling is None:
        return scores
    terms = scores.shape[1]
    if sampling.top_k is not None and sampling.top_k < terms:
        least = scores.topk(sampling.top_k).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    noise = np.stack([sampling.noise(answer, step, terms) for answer in answers.tolist()])
    return scores / sampling.temperature + send(noise, logits.device)
