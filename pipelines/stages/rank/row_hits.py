"""Scored rows of a shard as HITS: what they are of is read from the keys of its parts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Int32, Int64
from shardrank.core.schemas import HITS
from shardrank.core.topk import fold_and_cut
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.part_blocks import PartColumn, offsets

if TYPE_CHECKING:
    from shardrank.index.term_search import ScoredRows


def row_hits(
    index: Workspace, parts: Sequence[PartColumn], found: "ScoredRows", k: int
) -> pa.Table:
    """HITS in the total order, k documents a query; positions count over the parts in order."""
    pieces = [HITS.empty_table()]
    for part, offset in zip(parts, offsets(parts), strict=True):
        mine = np.flatnonzero((found.position >= offset) & (found.position < offset + part.rows))
        if len(mine):
            rows = (found.position[mine] - offset).astype(np.int32)
            pieces.append(_of_part(index, part, found, mine, rows))
    return fold_and_cut(pa.concat_tables(pieces), k)


def _of_part(
    index: Workspace, part: PartColumn, found: "ScoredRows", mine: Int64, rows: Int32
) -> pa.Table:
    keys = index.read_table(part.keys, ["doc_id", "row"]).sort_by("row")
    first = keys["row"].to_numpy()
    document = np.searchsorted(first, rows, side="right") - 1
    columns = [
        pa.array(found.query[mine], pa.int32()),
        keys["doc_id"].take(pa.array(document)).combine_chunks(),
        pa.array((rows - first[document]).astype(np.int32)),
        pa.array(found.score[mine]),
        pa.array(np.full(len(rows), part.ordinal, dtype=np.int32)),
        pa.array(rows),
    ]
    return pa.Table.from_arrays(columns, schema=HITS)
