"""Refinement: exact scores for the hits of a shard, each part read once for all of them."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from pipelines.core.protocols import Float32, Int64
from pipelines.core.topk import merge
from pipelines.index.blocks import PartBlock
from pipelines.index.pairs import check_queries, pair_scores


def refine(
    queries: Float32,
    positions: Int64,
    parts: Iterable[PartBlock],
    offsets: Sequence[int],
    k: int,
) -> pa.Table:
    """The k best documents of a shard for each query, among the hits found there.

    Args:
        queries: float32[Q, d].
        positions: int64[Q, depth] in the shard, as `Shard.search` gives them; -1 is no hit.
        parts: the shard's parts in its order, loaded one at a time.
        offsets: the position of each part's first row.
        k: documents kept for each query.

    Returns:
        HITS with exact scores, in the total order; rows that are not live are left out.

    Raises:
        InputError: a query vector is not finite.
    """
    check_queries(queries)
    query, column = np.nonzero(positions >= 0)
    position = positions[query, column]
    order = np.argsort(position, kind="stable")
    query, position = query[order], position[order]
    tables = []
    for part, offset in zip(parts, offsets, strict=True):
        begin, end = np.searchsorted(position, [offset, offset + part.rows])
        row, owner = position[begin:end] - offset, query[begin:end]
        row, owner = row[part.live[row]], owner[part.live[row]]
        tables.append(part.hits(owner, row, pair_scores(queries, owner, part.vectors, row), k))
    return merge(tables, k)
