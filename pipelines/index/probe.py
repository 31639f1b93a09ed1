"""What the audit measures in one shard: exact neighbours, and where a search finds them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipelines.core.protocols import Bool, Float32, Int32, Int64
from pipelines.core.topk import top_order
from pipelines.index.blocks import PartBlock
from pipelines.index.pairs import candidates, check_queries, pair_scores
from pipelines.index.shard import Shard

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The exact nearest passages of Q queries in one shard.

    Attributes:
        positions: int64[Q, k], by descending score, then position; -1 where there are fewer.
        scores: float32[Q, k]; -inf where there are fewer.
    """

    positions: Int64
    scores: Float32


def exact_neighbours(
    queries: Float32,
    parts: Iterable[PartBlock],
    offsets: Sequence[int],
    k: int,
    exclude: Int64,
) -> Neighbours:
    """The k nearest passages of a shard, its parts loaded one at a time.

    Args:
        queries: float32[Q, d].
        parts: the shard's parts in its order.
        offsets: the position of each part's first row.
        k: neighbours for each query.
        exclude: int64[Q], the query's own position in this shard, or -1: a held-out passage
            must not find itself (other passages with the same vector count).

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    query, position, score = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for part, offset in zip(parts, offsets, strict=True):
        # One more than k, since the excluded row may be among them.
        found = candidates(queries, part, np.arange(part.rows), k + 1, scores[:, -1])
        owner, row = _joined(found)
        others = row + offset != exclude[owner]
        owner, row = owner[others], row[others]
        query = np.concatenate([query, owner.astype(np.int32)])
        position = np.concatenate([position, (row + offset).astype(np.int32)])
        score = np.concatenate([score, pair_scores(queries, owner, part.vectors, row)])
        kept = top_order(query, position, np.zeros_like(position), score, k)
        query, position, score = query[kept], position[kept], score[kept]
        scores = _square(query, score, scores.shape, -np.inf)
    return Neighbours(_square(query, position.astype(np.int64), scores.shape, -1), scores)


def probe_ranks(
    shard: Shard,
    queries: Float32,
    exact_positions: Int64,
    grid: Sequence[int],
    max_depth: int,
    live: Bool | None = None,
) -> Int32:
    """Where a search finds the exact neighbours: int32[Q, k, len(grid)].

    Args:
        shard: the shard.
        queries: float32[Q, d].
        exact_positions: int64[Q, k] in this shard; -1 is none, and never found.
        grid: values of nprobe.
        max_depth: candidates of each search.
        live: bool[positions] that may be found; None: all.

    Returns:
        Ranks from 1 among the candidates, 0 where a neighbour is not among them. A held-out
        passage takes a rank too in its own search, so its neighbours' ranks may be one too high:
        the audit errs to the safe side.
    """
    depth = max(1, min(max_depth, shard.size))
    ranks = [_find(exact_positions, shard.search(queries, nprobe, depth, live)) for nprobe in grid]
    return np.stack(ranks, axis=2)


def _find(wanted: Int64, found: Int64) -> Int32:
    """int32[Q, k]: the column (from 1) of found[q] that holds wanted[q, i], or 0."""
    width = max(wanted.max(initial=0), found.max(initial=0)) + 2
    base = np.arange(len(found))[:, None] * width + 1
    keys = (base + found).ravel()  # found[q] = -1 gives a key that no wanted position has
    order = np.argsort(keys, kind="stable")
    place = np.searchsorted(keys, (base + wanted).ravel(), sorter=order)
    place = order[np.minimum(place, len(order) - 1)] if len(order) else place
    hit = (keys[place] == (base + wanted).ravel()) & (wanted.ravel() >= 0)
    return np.where(hit, place % found.shape[1] + 1, 0).astype(np.int32).reshape(wanted.shape)


def _joined(pairs: Iterable[tuple[Int64, Int64]]) -> tuple[Int64, Int64]:
    """Both columns of all blocks of pairs."""
    blocks = [(np.empty(0, np.int64), np.empty(0, np.int64)), *pairs]
    query, row = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return query, row


def _square(
    query: Int32, values: npt.NDArray[T], shape: tuple[int, ...], fill: float
) -> npt.NDArray[T]:
    """Values sorted by query as one row a query, the rest filled up."""
    result = np.full(shape, fill, dtype=values.dtype)
    result[query, np.arange(len(query)) - np.searchsorted(query, query)] = values
    return result
