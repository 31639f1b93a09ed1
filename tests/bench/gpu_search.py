"""List-major search by torch: each probed list is multiplied with all queries that probe it.

As `pipelines/index/lists.py` does it on a CPU, but for what suits a GPU: many lists share one
top-k, and nothing waits for the device but once in a block of queries. All that comes in and goes
out is numpy, so that copies both ways are in the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from shardrank.core.arrays import Float32, Int64
from shardrank.models.forward.batch import send

#: Queries that are searched together.
HEIGHT = 16_384
#: Products of queries and rows that are held at a time.
CELLS = 1 << 28
#: Lists share a top-k while they are not shorter than this share of the longest.
EVEN = 0.8
#: Rows of a list are counted in eights, and so are left-over queries: cuBLAS asks for it in int8.
EIGHT, FEW = 8, 16
#: Rounds of k-means, and rows that it looks at for each list.
ROUNDS, SAMPLE = 10, 64


@dataclass(frozen=True, eq=False)
class Lists:
    """Stored vectors by list, the longest list first, on the device.

    Attributes:
        centres: float32[nlist, d].
        rows: bf16 or int8[n + longest, d]; zeros at the end, so that each list may be read as if
            it were as long as the longest.
        ids: int64[n + longest], which stored vector each row is.
        sizes: int64[nlist] on the CPU, descending.
    """

    centres: Tensor
    rows: Tensor
    ids: Tensor
    sizes: Int64

    @property
    def begins(self) -> Int64:
        """int64[nlist] on the CPU, each list's first row."""
        begins: Int64 = self.sizes.cumsum() - self.sizes
        return begins


@dataclass(frozen=True)
class Chunk:
    """Lists that share one top-k: [first, last), whose pairs are [begin, end), each of a width."""

    first: int
    last: int
    begin: int
    end: int
    width: int


@torch.inference_mode()
def build(stored: Float32, nlist: int, dtype: torch.dtype, device: torch.device) -> Lists:
    """Lists of float32[n, d], in bf16 or int8."""
    values = torch.from_numpy(stored).to(device)
    centres = _centres(values, nlist)
    nearest = _nearest(values, centres)
    counts = nearest.bincount(minlength=nlist)
    by_size = counts.argsort(descending=True, stable=True)
    rank = torch.empty_like(by_size).index_copy_(0, by_size, torch.arange(nlist, device=device))
    order = rank[nearest].argsort(stable=True)
    sizes = counts[by_size].cpu().numpy()
    tail = _width(sizes[0])
    return Lists(
        centres=centres[by_size],
        rows=pad(small(values[order], dtype, values.abs().max()), (0, 0, 0, tail)),
        ids=pad(order, (0, tail)),
        sizes=sizes,
    )


def small(rows: Tensor, dtype: torch.dtype, largest: Tensor) -> Tensor:
    """Rows in bf16; or in 8 bits, where ±`largest` (one for all, or float32[n, 1]) become ±127."""
    if dtype != torch.int8:
        return rows.to(dtype)
    return (rows * (127 / largest)).round().to(torch.int8)


@torch.inference_mode()
def search(lists: Lists, queries: Float32, nprobe: int, depth: int) -> Int64:
    """int64[Q, depth]: the stored vectors with the largest products, best first, -1 where none."""
    found = [
        _search_block(lists, _sent(queries[begin : begin + HEIGHT], lists.rows), nprobe, depth)
        for begin in range(0, len(queries), HEIGHT)
    ]
    best: Int64 = torch.cat(found).cpu().numpy()
    return best


@torch.inference_mode()
def brute_force(rows: Tensor, queries: Float32, depth: int) -> Int64:
    """As `search`, of all [n, d] rows, in blocks of queries whose products fit."""
    height = max(FEW + 1, CELLS // len(rows))
    found = []
    for begin in range(0, len(queries), height):
        asked = _sent(queries[begin : begin + height], rows).to(rows.dtype)
        found.append(products(asked, rows, _room(len(asked), len(rows), rows)).topk(depth).indices)
    best: Int64 = torch.cat(found).cpu().numpy()
    return best


def products(asked: Tensor, rows: Tensor, out: Tensor) -> Tensor:
    """[q, n] inner products of [q, d] and [n, d] into `out`: float32, or int32 of 8-bit numbers."""
    if rows.dtype == torch.float32:
        return torch.mm(asked, rows.T, out=out)
    if rows.dtype == torch.int8 and (len(asked) > FEW or not rows.is_cuda):
        return torch._int_mm(asked, rows.T, out=out)
    if rows.dtype == torch.int8 or not rows.is_cuda:  # exact: 8-bit sums stay below 2^24
        return out.copy_(asked.float() @ rows.float().T)
    # Products that were rounded to bf16 would tie by the dozen.
    return torch.mm(asked, rows.T, out_dtype=torch.float32, out=out)


def _search_block(lists: Lists, queries: Tensor, nprobe: int, depth: int) -> Tensor:
    near = (queries @ lists.centres.T).topk(nprobe, sorted=False).indices  # int64[Q, nprobe]
    by_list = near.flatten().argsort(stable=True)  # pair → which query's which probe
    counts = near.flatten().bincount(minlength=len(lists.sizes)).cpu().numpy()
    asked = small(queries, lists.rows.dtype, queries.abs().amax(1, keepdim=True))
    scores = _room(len(by_list), depth, lists.rows).fill_(_lowest(lists.rows))
    ids = torch.zeros(scores.shape, dtype=torch.int64, device=scores.device)
    for chunk in _chunks(lists.sizes, counts):
        pairs = by_list[chunk.begin : chunk.end]
        best, where = _search_chunk(lists, chunk, counts, asked[pairs // nprobe], depth)
        scores[pairs, : best.shape[1]], ids[pairs, : best.shape[1]] = best, where
    shape = (len(queries), nprobe * depth)
    top = scores.view(shape).topk(depth)
    found = ids.view(shape).gather(1, top.indices)
    return found.masked_fill(top.values == _lowest(lists.rows), -1)


def _search_chunk(
    lists: Lists, chunk: Chunk, counts: Int64, asked: Tensor, depth: int
) -> tuple[Tensor, Tensor]:
    """The best of each pair: their products, and which stored vectors they are.

    Every list is read at the width of the chunk, so that products fill one matrix without gaps;
    what belongs to the next list is then struck out.
    """
    numbers = slice(chunk.first, chunk.last)
    begins, counts = lists.begins[numbers], counts[numbers]
    scores = _room(len(asked), chunk.width, lists.rows)
    for begin, end, count in zip(begins, counts.cumsum(), counts, strict=True):
        mine, rows = slice(end - count, end), slice(begin, begin + chunk.width)
        if count:
            products(asked[mine], lists.rows[rows], scores[mine])
    sizes, firsts = (_repeated(x, counts, asked) for x in (lists.sizes[numbers], begins))
    columns = torch.arange(chunk.width, device=asked.device)
    scores.masked_fill_(columns >= sizes, _lowest(lists.rows))
    top = scores.topk(min(depth, chunk.width), sorted=False)
    return top.values, lists.ids[firsts + top.indices]


def _chunks(sizes: Int64, counts: Int64) -> Iterator[Chunk]:
    """Runs of lists of like length, of which each is probed, as long as their products fit."""
    ends = counts.cumsum()
    first = 0
    while first < len(sizes):
        width = _width(sizes[first])
        before = ends[first] - counts[first]
        even = np.searchsorted(-sizes, -EVEN * sizes[first], side="right")
        fits = np.searchsorted(ends, before + CELLS // width, side="right")
        last = max(first + 1, int(min(even, fits)))
        if ends[last - 1] > before:
            yield Chunk(first, last, int(before), int(ends[last - 1]), width)
        first = last


def _width(size: np.int64) -> int:
    """A list's length, rounded up, and never nothing."""
    return max(1, -(-int(size) // EIGHT)) * EIGHT


def _repeated(values: Int64, counts: Int64, like: Tensor) -> Tensor:
    """int64[pairs, 1]: each list's value for each of its pairs."""
    there, times = send(values, like.device), send(counts, like.device)
    return there.repeat_interleave(times, output_size=len(like))[:, None]


def _sent(queries: Float32, rows: Tensor) -> Tensor:
    """Queries on the device, through pinned memory."""
    tensor = torch.from_numpy(queries)
    if not rows.is_cuda:
        return tensor
    return tensor.pin_memory().to(rows.device, non_blocking=True)


def _room(height: int, width: int, rows: Tensor) -> Tensor:
    """For products with rows of that type."""
    dtype = torch.int32 if rows.dtype == torch.int8 else torch.float32
    return torch.empty((height, width), dtype=dtype, device=rows.device)


def _lowest(rows: Tensor) -> float:
    return torch.iinfo(torch.int32).min if rows.dtype == torch.int8 else -torch.inf


def _centres(values: Tensor, nlist: int) -> Tensor:
    """Spherical k-means (Dhillon & Modha 2001) on a sample of unit vectors."""
    sample = values[torch.randperm(len(values), device=values.device)[: SAMPLE * nlist]]
    centres = sample[:nlist]
    for _ in range(ROUNDS):
        nearest = _nearest(sample, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
        kept = (sums == 0).all(1, keepdim=True)  # a centre that lost all its rows stays
        centres = normalize(torch.where(kept, centres, sums), dim=1)
    return centres


def _nearest(values: Tensor, centres: Tensor) -> Tensor:
    """int64[n], in blocks, since [n, nlist] may not fit."""
    height = max(1, CELLS // len(centres))
    begins = range(0, len(values), height)
    return torch.cat([(values[at : at + height] @ centres.T).argmax(1) for at in begins])
