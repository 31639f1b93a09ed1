"""From the logits of a text's tokens to one weight a term: SPLADE (Formal et al. 2021,
arXiv:2107.05720 by sum, arXiv:2109.10086 by maximum), w_j = max_i log(1 + relu(x_ij)).

Logits of a whole batch never exist: texts are pooled in groups of as many tokens as fit, and a
longer text piece by piece.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shardrank.core.arrays import Int64
from shardrank.core.sparse import SparseRows
from shardrank.models.folder.sparse_modules import SpladePooling

Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Pool:
    """How the logits of tokens become one row a text.

    Attributes:
        reduce: logits [t, v] of some texts, and how many tokens each has → float32[n, v].
        join: float32[p, v], such rows of the pieces of one text → float32[1, v].
    """

    reduce: Callable[[Tensor, Int64], Tensor]
    join: Callable[[Tensor], Tensor]


def weights(
    states: Tensor, sizes: Int64, decode: Decode, pooling: SpladePooling, room: int
) -> Iterator[SparseRows]:
    """The terms of a batch's texts, some texts at a time, in the order of the batch; arguments as
    of `pooled`."""
    return map(active_terms, pooled(states, sizes, decode, _pool(pooling), room))


def pooled(states: Tensor, sizes: Int64, decode: Decode, pool: Pool, room: int) -> Iterator[Tensor]:
    """float32[n, vocabulary] of a batch's texts, some texts at a time, in the order of the batch.

    Args:
        states: [t, d] of all tokens; they may be overwritten.
        sizes: int64[b], tokens of each text.
        decode: gives logits [n, vocabulary] of the states of n tokens, which are of no use any
            more once it is called again.
        pool: how logits become rows.
        room: how many tokens' logits there may be at once.
    """
    begin = 0
    for some in _groups(sizes, room):
        end = begin + int(some.sum())
        yield _pooled(states[begin:end], some, decode, pool, room)
        begin = end


def active_terms(dense: Tensor) -> SparseRows:
    """The terms of float32[n, vocabulary] whose weight is not zero; what is NaN stays."""
    rows, terms = dense.nonzero(as_tuple=True)
    found = dense[rows, terms]
    lengths = torch.bincount(rows, minlength=len(dense)).cpu().numpy()
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return SparseRows(ends, terms.cpu().numpy().astype(np.uint64), found.cpu().numpy())


def _groups(sizes: Int64, room: int) -> Iterator[Int64]:
    """Neighbouring texts that have so many tokens together, at least one text each."""
    ends, begin = np.cumsum(sizes), 0
    while begin < len(sizes):
        taken = int(ends[begin] - sizes[begin])
        end = max(begin + 1, int(np.searchsorted(ends, taken + room, side="right")))
        yield sizes[begin:end]
        begin = end


def _pooled(states: Tensor, sizes: Int64, decode: Decode, pool: Pool, room: int) -> Tensor:
    """float32[n, vocabulary], of the states [t, d] of n texts."""
    if len(states) <= room:
        return pool.reduce(decode(states), sizes)
    pieces = torch.split(states, room)
    return pool.join(torch.cat([pool.reduce(decode(p), np.array([len(p)])) for p in pieces]))


def _pool(pooling: SpladePooling) -> Pool:
    if pooling.strategy == "max":
        return Pool(partial(_largest, logarithms=pooling.logarithms), lambda x: x.amax(0, True))
    return Pool(partial(_added, logarithms=pooling.logarithms), lambda x: x.sum(0, True))


def _largest(logits: Tensor, sizes: Int64, logarithms: int) -> Tensor:
    """Weights rise with logits, so that the largest logit has the largest weight."""
    return _activated(reduced(logits, sizes, "max").float(), logarithms)


def _added(logits: Tensor, sizes: Int64, logarithms: int) -> Tensor:
    return reduced(_activated(logits.float(), logarithms), sizes, "sum")


def _activated(logits: Tensor, logarithms: int) -> Tensor:
    """log(1 + relu(x)), once or twice, in place."""
    found = logits.relu_()
    for _ in range(logarithms):
        found = found.log1p_()
    return found


def reduced(rows: Tensor, sizes: Int64, how: str) -> Tensor:
    """[n, v], the sum or maximum of each text's rows of [t, v].

    On a CPU torch 2.13's segment_reduce takes four times as long as one text after another.
    """
    if rows.is_cuda:
        lengths = torch.from_numpy(sizes).to(rows.device)
        return torch.segment_reduce(rows, how, lengths=lengths, unsafe=True)
    texts = torch.split(rows, sizes.tolist())
    return torch.stack([text.amax(0) if how == "max" else text.sum(0) for text in texts])
