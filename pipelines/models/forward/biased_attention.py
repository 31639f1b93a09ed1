"""Attention to which a number is added for each pair of tokens, by how far they are apart.

Such numbers depend on the distance j - i of a key from a query alone, or on that and on one of the
two tokens. So they are rows over distances, from which each query has a window, one place further
to the left than the query before: a view of the same memory, and nothing is looked up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from shardrank.models.forward.attention_bf16 import attends_in_bf16
from shardrank.models.forward.attention_fp32 import EVERY, attend_in_loops, attends_in_loops
from shardrank.models.forward.batch import Batch


class Bias(Protocol):
    """What is added to the logits of queries and keys [n, tokens, heads, d] of n inputs."""

    @property
    def scale(self) -> float:
        """What products of queries and keys are multiplied with, before."""

    def of_all(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[n or 1, heads, length, length]."""

    def of_first(self, queries: Tensor, keys: Tensor) -> Tensor:
        """[n or 1, heads, 1, length], of queries [n, 1, heads, d]."""

    def lines(self, length: int) -> Tensor | None:
        """float32[heads, 2 · length - 1] over distances in order, where a bias depends on nothing
        else; else none."""

    def attend_in_bf16(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """bf16[t, heads, d] on a CPU that multiplies bf16, of all tokens' queries."""


@dataclass(frozen=True, eq=False)
class BiasedAttention:
    """As `shardrank.models.forward.attention.attend`, with a bias."""

    bias: Bias

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        if queries.is_cuda or batch.seen is not None:
            return self._padded(queries, keys, values, batch).flatten(1)
        lines = self.bias.lines(batch.longest) if attends_in_loops(queries) else None
        if lines is not None:
            found = attend_in_loops(queries, keys, values, batch, EVERY, self.bias.scale, lines)
            return found.flatten(1)
        if queries.dtype != torch.bfloat16 or not attends_in_bf16():
            return self._grouped(queries, keys, values, batch).flatten(1)
        if len(queries) == len(keys):
            return self.bias.attend_in_bf16(queries, keys, values, batch).flatten(1)
        # First ones only, of which there are many shapes, which bf16's products do not like.
        found = self._grouped(queries.float(), keys.float(), values.float(), batch)
        return found.bfloat16().flatten(1)

    def _grouped(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """Inputs of one length together, group by group."""
        found = torch.empty_like(queries)
        firsts = len(queries) != len(keys)
        for mine, theirs, length in _groups(batch, firsts):
            q = queries[mine].view(-1, 1 if firsts else length, *queries.shape[1:])
            k, v = (x[theirs].view(-1, length, *x.shape[1:]) for x in (keys, values))
            found[mine] = self._attended(q, k, v, None).flatten(0, 1)
        return found

    def _padded(self, queries: Tensor, keys: Tensor, values: Tensor, batch: Batch) -> Tensor:
        """All inputs at one length: few launches, for a GPU, or where tokens are not seen."""
        shape, firsts = (len(batch.sizes), batch.longest), len(queries) != len(keys)
        k, v = (_spread(x, batch) for x in (keys, values))
        q = queries[:, None] if firsts else _spread(queries, batch)
        places = torch.arange(shape[1], device=keys.device)
        hidden = keys.new_zeros(shape).masked_fill(
            places >= batch.seen_lengths[:, None], -torch.inf
        )
        out = self._attended(q, k, v, hidden[:, None, None])
        return out.flatten(0, 1) if firsts else out.flatten(0, 1)[batch.cells]

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
        """[n, asked, heads, d]."""
        bias = self.bias.of_first(q, k) if q.shape[1] != k.shape[1] else self.bias.of_all(q, k)
        bias = bias if hidden is None else bias + hidden
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=self.bias.scale)
        return found.transpose(1, 2)


def _groups(batch: Batch, firsts: bool) -> Iterator[tuple[slice, slice, int]]:
    """For each run of inputs of one length: its queries, its keys, and the length."""
    token = query = 0
    for count, length in batch.groups:
        mine = slice(query, query + count * (1 if firsts else length))
        theirs = slice(token, token + count * length)
        yield mine, theirs, length
        token, query = theirs.stop, mine.stop


def _spread(x: Tensor, batch: Batch) -> Tensor:
    """[t, heads, d] → [b, longest, heads, d], zeros behind an input's tokens."""
    rows = x.new_zeros((len(batch.sizes) * batch.longest, *x.shape[1:]))
    rows[batch.cells] = x
    return rows.view(len(batch.sizes), batch.longest, *x.shape[1:])


def windows(rows: Tensor, length: int) -> Tensor:
    """[…, length, w] of numbers over distances, contiguous → […, length, length]: each row's
    window, of row 0 from place length - 1 on, and of each row after it from one place less."""
    width = rows.shape[-1]
    shape, strides = (*rows.shape[:-1], length), (*rows.stride()[:-2], width - 1, 1)
    return rows.as_strided(shape, strides, rows.storage_offset() + length - 1)


def line_windows(lines: Tensor, length: int) -> Tensor:
    """[heads, 2 · length - 1] over distances -(length - 1) to length - 1 → [heads, length,
    length]."""
    rows = pad(lines, (0, 1))[:, None].expand(-1, length, -1).contiguous()
    return windows(rows, length)
