"""Exact search: the k best documents of a part, and of a sweep over parts."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32
from shardrank.core.schemas import HITS
from shardrank.core.topk import Best
from shardrank.index.blocks import PartBlock
from shardrank.index.nearest import Find
from shardrank.index.pairs import check_queries


def part_topk(
    queries: Float32, part: PartBlock, k: int, find: Find, floor: Float32 | None = None
) -> pa.Table:
    """The k best documents of one part for each query, by their best passage; ties included.

    Scores are those of `pair_scores`, and so is the order.

    Args:
        queries: float32[Q, d].
        part: the part.
        k: documents wanted for each query.
        find: the pairs that are worth having; where and how changes no hit.
        floor: float32[Q], scores under which a document is not wanted (it is then not looked
            for, but may still be returned); see `shardrank.core.topk.floors`.

    Returns:
        HITS in the total order.

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    least = np.full(len(queries), -np.inf, dtype=np.float32) if floor is None else floor
    tables = [
        part.hits(near.queries, near.rows, near.scores, k) for near in find(queries, part, k, least)
    ]
    return pa.concat_tables([HITS.empty_table(), *tables])


def sweep_topk(queries: Float32, parts: Iterable[PartBlock], k: int, find: Find) -> pa.Table:
    """The k best documents over all parts, loaded one at a time: HITS in the total order.

    Raises:
        InputError: a query vector is not finite.
    """
    best = Best(len(queries), k)
    for part in parts:
        best.add(part_topk(queries, part, k, find, best.floor))
    return best.table()
