"""Attention with a bias in bf16 on CPUs that multiply it, as attention_bf16.py has it without."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from shardrank.kernels.attention_loops import gather, spread
from shardrank.kernels.bias_loops import softmax_distances, softmax_lines
from shardrank.models.forward.attention_bf16 import as_words
from shardrank.models.forward.batch import Batch, LengthGroup

#: Makes [heads, n, length, length] weights of queries and keys [heads, n, length, d].
_Weigh = Callable[[Tensor, Tensor, LengthGroup], Tensor]


class Distances(Protocol):
    """Keys and queries of distances: see packed_deberta.py, `DistanceBias`."""

    @property
    def scale(self) -> float: ...

    @property
    def keys(self) -> Tensor | None: ...

    @property
    def queries(self) -> Tensor | None: ...

    def upwards(self, table: Tensor, length: int) -> Tensor: ...

    def downwards(self, table: Tensor, length: int) -> Tensor: ...


def attend_by_lines(
    queries: Tensor, keys: Tensor, values: Tensor, batch: Batch, lines: Tensor, scale: float
) -> Tensor:
    """softmax(scale · q·kᵀ + line)·v: bf16[t, heads, d], as the queries.

    Args:
        lines: float32[heads, 2 · length - 1] over distances, of the longest block's length.
    """
    padded = torch.nn.functional.pad(lines, (0, 1)).numpy()

    def weigh(q: Tensor, k: Tensor, block: LengthGroup) -> Tensor:
        found = torch.matmul(q, k.transpose(2, 3))
        softmax_lines(found.view(torch.uint16).numpy(), block.sizes, padded, scale)
        return found

    return _attend(queries, keys, values, batch, weigh)


def attend_by_distances(
    queries: Tensor, keys: Tensor, values: Tensor, batch: Batch, bias: Distances
) -> Tensor:
    """softmax(scale · q·kᵀ + q·k'ᵀ + q'·kᵀ)·v, with k' and q' of distances: as the queries."""

    def weigh(q: Tensor, k: Tensor, block: LengthGroup) -> Tensor:
        found = torch.matmul(q, k.transpose(2, 3))
        up = _products(q, bias.keys, bias.upwards)
        down = _products(k, bias.queries, bias.downwards)
        bits, theirs, mine = (x.view(torch.uint16).numpy() for x in (found, up, down))
        softmax_distances(bits, block.sizes, theirs, mine, bias.scale)
        return found

    return _attend(queries, keys, values, batch, weigh)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, batch: Batch, weigh: _Weigh) -> Tensor:
    found = torch.empty(queries.shape, dtype=torch.bfloat16)
    for block in batch.blocks:
        q, k, v = (_spread(x, block) for x in (queries, keys, values))
        out = torch.matmul(weigh(q, k, block), v)
        gather(as_words(out.transpose(0, 1)), block.begins, block.sizes, as_words(found))
    return found


def _spread(x: Tensor, block: LengthGroup) -> Tensor:
    """[t, heads, d] → [heads, inputs, length, d]: heads first, since each has a table."""
    shape = (x.shape[1], len(block.sizes), block.length, x.shape[2])
    out = torch.empty(shape, dtype=x.dtype)
    spread(as_words(x), block.begins, block.sizes, as_words(out.transpose(0, 1)))
    return out


def _products(
    tokens: Tensor, table: Tensor | None, rows: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """[heads, n, length, 2 · length] of tokens [heads, n, length, d] and a table's rows."""
    heads, count, length, _ = tokens.shape
    if table is None:
        return torch.zeros((heads, count, length, 2 * length), dtype=tokens.dtype)
    theirs = rows(table, length).to(tokens.dtype).transpose(1, 2)
    found = torch.bmm(tokens.flatten(1, 2), theirs)
    return found.view(heads, count, length, -1)
