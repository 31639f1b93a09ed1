"""Exact search: the k best documents of a part, and of a sweep over parts."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64
from shardrank.core.schemas import HITS
from shardrank.core.topk import Best
from shardrank.index.blocks import PartBlock
from shardrank.index.pairs import candidates, check_queries, pair_scores

#: Chooses the pairs that are scored, as `candidates` does: (queries, part, starts, k, floor).
Choose = Callable[[Float32, PartBlock, Int64, int, Float32], Iterator[tuple[Int64, Int64]]]


def part_topk(
    queries: Float32,
    part: PartBlock,
    k: int,
    floor: Float32 | None = None,
    choose: Choose = candidates,
) -> pa.Table:
    """The k best documents of one part for each query, by their best passage; ties included.

    A matrix product only selects; scores are those of `pair_scores`, and so is the order.

    Args:
        queries: float32[Q, d].
        part: the part.
        k: documents wanted for each query.
        floor: float32[Q], scores under which a document is not wanted (it is then not looked
            for, but may still be returned); see `shardrank.core.topk.floors`.
        choose: on which device, and how: that changes no hit.

    Returns:
        HITS in the total order.

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    least = np.full(len(queries), -np.inf, dtype=np.float32) if floor is None else floor
    tables = [
        part.hits(query, row, pair_scores(queries, query, part.vectors, row), k)
        for query, row in choose(queries, part, part.starts, k, least)
    ]
    return pa.concat_tables([HITS.empty_table(), *tables])


def sweep_topk(
    queries: Float32, parts: Iterable[PartBlock], k: int, choose: Choose = candidates
) -> pa.Table:
    """The k best documents over all parts, loaded one at a time: HITS in the total order.

    Raises:
        InputError: a query vector is not finite.
    """
    best = Best(len(queries), k)
    for part in parts:
        best.add(part_topk(queries, part, k, best.floor, choose))
    return best.table()
