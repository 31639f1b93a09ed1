"""Inputs that begin with the same tokens: the stem, computed once, and each input's branch.

A prompt that stands before many passages is the same run of tokens for all of them, and so are its
keys and values. Passes over the branches are packed as batch.py packs inputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Int32, Int64
from shardrank.models.forward.batch import send

#: Tokens of a stem's first piece.
_PIECE = 256


@dataclass(frozen=True, eq=False)
class Branches:
    """Branches as one run of tokens, behind a stem whose keys and values are kept.

    Attributes:
        rows: int64[b] on the CPU, which inputs they are.
        sizes: int64[b] on the CPU, tokens of each, at least one; descending.
        ids: int64[t] on the device, the tokens of all.
        stem: tokens before each of them.
        wanted: int64[w] on the device, whose states are asked for; ascending.
    """

    rows: Int64
    sizes: Int64
    ids: Tensor
    stem: int
    wanted: Tensor

    @cached_property
    def places(self) -> Tensor:
        """int64[t] on the device: each token's place in its input, from 0."""
        starts = np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        found = np.arange(len(starts), dtype=np.int64) - starts + self.stem
        return send(found, self.ids.device)

    @cached_property
    def groups(self) -> list[tuple[int, int]]:
        """(branches, tokens of each) for each run of branches of one length, in order."""
        starts = np.flatnonzero(np.r_[True, self.sizes[1:] != self.sizes[:-1]])
        counts = np.diff(np.append(starts, len(self.sizes)))
        return [(int(n), int(self.sizes[at])) for n, at in zip(counts, starts, strict=True)]

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """int32[b + 1] each: where branches end among their tokens, and among those of
        `with_stem`, as FlashAttention takes them."""
        ends = np.concatenate([[0], np.cumsum(self.sizes)])
        longer = ends + self.stem * np.arange(len(ends))
        device = self.ids.device
        return send(ends, device).int(), send(longer, device).int()

    @cached_property
    def with_stem(self) -> Tensor:
        """int64[t + b · stem]: the stem's tokens before each branch's, numbered from the stem's."""
        begins = np.cumsum(self.sizes) - self.sizes + self.stem
        stem = np.arange(self.stem)
        runs = [
            run
            for at, size in zip(begins, self.sizes, strict=True)
            for run in (stem, np.arange(at, at + size))
        ]
        return send(np.concatenate(runs).astype(np.int64), self.ids.device)


def one_run(ids: Int32, stem: int, wanted: Sequence[int], device: torch.device) -> Branches:
    """A single branch behind the stem, of whose tokens some are asked for."""
    return Branches(
        rows=np.zeros(1, np.int64),
        sizes=np.array([len(ids)], np.int64),
        ids=send(ids.astype(np.int64), device),
        stem=stem,
        wanted=send(np.array(wanted, np.int64), device),
    )


def common_prefix(inputs: Sequence[Int32]) -> int:
    """The number of tokens with which all inputs begin."""
    least = min(len(tokens) for tokens in inputs)
    first = inputs[0][:least]
    for tokens in inputs[1:]:
        differing = np.flatnonzero(first != tokens[: len(first)])
        first = first[: differing[0]] if len(differing) else first
    return len(first)


def stem_pieces(length: int, budget: int) -> list[tuple[int, int]]:
    """Where a stem is cut: begin and end of pieces, each as long as all before it together, but no
    shorter than 256 tokens and no longer than the budget, whatever comes behind."""
    found, begin = list[tuple[int, int]](), 0
    while begin < length:
        end = begin + min(max(begin, _PIECE), budget)
        found.append((begin, min(end, length)))
        begin = end
    return found


def plan_passes(sizes: Int64, budget: int) -> list[Int64]:
    """Cut branches into passes without padding, the longest first.

    Args:
        sizes: int64[n], tokens of each.
        budget: the most tokens of a pass; a longer branch is a pass of its own.

    Returns:
        Row numbers, int64[rows of the pass] for each pass; every row is in exactly one. Rows of
        equal length keep their order.
    """
    order = np.argsort(-sizes, kind="stable")
    passes: list[Int64] = []
    begin = tokens = 0
    for at, row in enumerate(order):
        if at > begin and tokens + sizes[row] > budget:
            passes.append(order[begin:at])
            begin, tokens = at, 0
        tokens += int(sizes[row])
    return [*passes, order[begin:]] if len(order) else []


def pack(
    inputs: Sequence[Int32], firsts: Int64, stem: int, budget: int, device: torch.device
) -> Iterator[Branches]:
    """All inputs' branches by token budget.

    Args:
        inputs: token lists, of which the first `stem` tokens are the same; one that has no more is
            in no pass.
        firsts: int64[n], the first place of each input whose state is asked for, at least `stem`;
            so are all that follow.
        stem: how many tokens are computed already.
        budget: the most tokens of a pass.
        device: where the passes run.
    """
    lengths = np.array([len(tokens) for tokens in inputs], np.int64)
    more = np.flatnonzero(lengths > stem)
    for mine in plan_passes(lengths[more] - stem, budget):
        rows = more[mine]
        sizes = lengths[rows] - stem
        flat = np.concatenate([inputs[row][stem:] for row in rows]).astype(np.int64)
        ends = np.cumsum(sizes)
        asked = lengths[rows] - firsts[rows]
        wanted = np.concatenate(
            [np.arange(end - count, end) for end, count in zip(ends, asked, strict=True)]
        )
        yield Branches(rows, sizes, send(flat, device), stem, send(wanted, device))
