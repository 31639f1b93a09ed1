"""A reranker's scores of a block's hits, row by row of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32
from shardrank.core.files import FileRef
from shardrank.core.topk import ranks
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True, eq=False)
class HitScores:
    """Row by row of a block's hits.

    Attributes:
        logits: float32[n], NaN where a hit was not reranked.
        scored: bool[n]: which were.
        truncated: bool[n]: which were cut for it.
    """

    logits: Float32
    scored: Bool
    truncated: Bool


def read_block_scores(
    workspace: Workspace, files: Sequence[FileRef], hits: pa.Table, depth: int
) -> HitScores:
    """Of HITS in their order; scores behind the depth do not count."""
    place = {key: row for row, key in enumerate(places(hits))}
    logits = np.full(hits.num_rows, np.nan, dtype=np.float32)
    scored, cut = np.zeros((2, hits.num_rows), np.bool_)
    for ref in files:
        table = workspace.read_table(ref)
        rows = [place[key] for key in places(table)]
        logits[rows], scored[rows] = table["logit"].to_numpy(), True
        cut[rows] = table["truncated"].to_numpy()
    near = ranks(hits) <= depth
    kept = near & np.isfinite(logits)
    return HitScores(np.where(kept, logits, np.float32(np.nan)), scored & near, cut & near)


def places(table: pa.Table) -> list[tuple[int, int, int]]:
    """(query, part, row) of each row: what names a hit in a query block."""
    names = ("query", "part", "row")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
