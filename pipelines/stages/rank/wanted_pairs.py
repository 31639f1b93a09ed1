"""The pairs of some parts that a reranker is to score, and the texts of those parts' passages."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int32, Int64
from shardrank.stages.rank.rerank_plan import BlockPairs, PartTexts
from shardrank.stages.run.workspace import Workspace


def wanted_pairs(
    workspace: Workspace, blocks: Sequence[BlockPairs], parts: Sequence[int], depth: int
) -> pa.Table:
    """query, part, row, rank and block of each pair in these parts, by their places in the version,
    up to the depth, in the order of the files."""
    ordinals = pa.array(parts, pa.int32())
    found = []
    files = [(block.block, ref) for block in blocks for ref in block.pairs]
    for number, ref in files:
        pairs = workspace.read_table(ref, ["query", "part", "row", "rank"])
        near = pc.less_equal(pairs["rank"], depth)
        mine = pairs.filter(pc.and_(near, pc.is_in(pairs["part"], value_set=ordinals)))
        ordinal = pa.array(np.full(mine.num_rows, number, dtype=np.int32))
        found.append(mine.append_column("block", ordinal))
    return pa.concat_tables(found)


def passages_of_pairs(
    index: Workspace, parts: Sequence[PartTexts], pairs: pa.Table, columns: list[str]
) -> pa.Table:
    """part and row of each passage once, in their order, with columns of its part."""
    wanted = distinct(pairs, ["part", "row"])
    pieces = []
    for part in parts:
        rows = wanted.filter(pc.equal(wanted["part"], part.ordinal))
        table = index.read_table(part.passages, columns).take(rows["row"])
        for name in columns:
            rows = rows.append_column(name, table[name])
        pieces.append(rows)
    return pa.concat_tables(pieces)


def distinct(table: pa.Table, columns: list[str]) -> pa.Table:
    """Each row of some columns once, in their order."""
    found = table.select(columns).group_by(columns).aggregate([])
    return found.sort_by([(name, "ascending") for name in columns])


def positions(table: pa.Table, among: pa.Table, columns: list[str]) -> Int32:
    """int32[n]: where each row's key stands in `among`, which is sorted by it."""
    keys = _joint(among, columns)
    return np.searchsorted(keys, _joint(table, columns)).astype(np.int32)


def _joint(table: pa.Table, columns: list[str]) -> Int64:
    """int64[n]: two int32 columns as one number that sorts as they do."""
    high, low = (table[name].to_numpy().astype(np.int64) for name in columns)
    joint: Int64 = (high << 32) | low
    return joint
