"""collate: retrieval and reranker scores become the contract's rankings, one query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32
from shardrank.core.files import FileRef
from shardrank.core.topk import ranks
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.blend import rankings
from shardrank.stages.rank.merge import Merged
from shardrank.stages.rank.rerank_plan import Scores, scores_by_block
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock


@dataclass(frozen=True)
class CollateSpec:
    """A query block with its hits, and the scores of its pairs, of which those up to the depth
    count."""

    block: int
    queries: FileRef
    hits: FileRef
    scores: tuple[FileRef, ...]
    depth: int
    interpolation: float


@dataclass(frozen=True)
class Blend:
    """How many documents of a query are reranked, and a in a·logit + (1-a)·retrieval score."""

    depth: int
    interpolation: float


@dataclass(frozen=True)
class Collated:
    """RANKINGS of a query block."""

    rankings: FileRef


COLLATE = Stage("collate", CollateSpec, Collated)


def collate(
    context: Context,
    blocks: Sequence[QueryBlock],
    merged: Sequence[Done[Merged]],
    reranked: Sequence[Done[Scores]],
    how: Blend,
) -> list[Done[Collated]]:
    """The rankings of each query block; counts "rows", "queries" (those that have a hit), and of
    the pairs that were to be scored "pairs", "not_finite" and "truncated"."""
    scores = scores_by_block(reranked, len(blocks))
    each = zip(blocks, merged, scores, strict=True)
    specs = [
        CollateSpec(n, block.queries, done.made.hits, files, how.depth, how.interpolation)
        for n, (block, done, files) in enumerate(each)
    ]
    return run_stage(context, COLLATE, specs, [Step(partial(Collate, context.workspace))])


@dataclass(frozen=True)
class Collate:
    """A query block's hits and scores → its rankings."""

    workspace: Workspace

    def __call__(self, unit: Unit[CollateSpec], tables: Tables) -> Result[Collated]:
        spec = unit.spec
        hits = self.workspace.read_table(spec.hits)
        logits, scored, cut = self._scores(spec, hits)
        queries = self.workspace.read_table(spec.queries, ["query_id"])
        table = rankings(hits, logits, spec.interpolation, queries["query_id"])
        ref = self.workspace.write_table(f"rankings/{spec.block:05d}.parquet", table)
        counts = {
            "rows": table.num_rows,
            "queries": len(np.unique(hits["query"].to_numpy())),
            "pairs": int(scored.sum()),
            "not_finite": int((scored & ~np.isfinite(logits)).sum()),
            "truncated": int(cut.sum()),
        }
        return Result(Collated(ref), counts)

    def _scores(self, spec: CollateSpec, hits: pa.Table) -> tuple[Float32, Bool, Bool]:
        """Row by row of the hits: float32[n] logits, NaN where a hit was not reranked; which were
        scored; and which were cut for it."""
        place = {key: row for row, key in enumerate(_keys(hits))}
        logits = np.full(hits.num_rows, np.nan, dtype=np.float32)
        scored, cut = np.zeros((2, hits.num_rows), np.bool_)
        for ref in spec.scores:
            table = self.workspace.read_table(ref)
            rows = [place[key] for key in _keys(table)]
            logits[rows], scored[rows] = table["logit"].to_numpy(), True
            cut[rows] = table["truncated"].to_numpy()
        near = ranks(hits) <= spec.depth
        kept = near & np.isfinite(logits)
        return np.where(kept, logits, np.float32(np.nan)), scored & near, cut & near


def _keys(table: pa.Table) -> list[tuple[int, int, int]]:
    """(query, part, row) of each row: what names a hit in a query block."""
    names = ("query", "part", "row")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
