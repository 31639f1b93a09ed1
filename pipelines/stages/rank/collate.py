"""collate: retrieval and reranker scores become the contract's rankings, one query block a unit.

A reranked document's score is a·logit + (1-a)·retrieval score. Documents that were not reranked
follow all that were, in their retrieval order. `score` alone must give that order (trec_eval and
others sort by it), so theirs is the lowest reranked score less the distance of their retrieval
score, each at least one float32 step below the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.files import FileRef
from shardrank.core.schemas import RANKINGS
from shardrank.core.topk import ranks
from shardrank.core.units import Done, Stage, Unit
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


def rankings(
    hits: pa.Table, logits: Float32, interpolation: float, query_ids: pa.ChunkedArray
) -> pa.Table:
    """The contract's table from a block's sorted hits.

    Args:
        hits: HITS, sorted by query in the total order.
        logits: float32[n], NaN where not reranked.
        interpolation: a in a·logit + (1-a)·retrieval score.
        query_ids: of the block's queries.
    """
    query, retrieval = hits["query"].to_numpy(), hits["score"].to_numpy()
    score = final_scores(query, retrieval, logits, interpolation)
    columns = [
        query_ids.take(hits["query"]).combine_chunks(),
        hits["doc_id"].combine_chunks(),
        hits["passage"].combine_chunks(),
        pa.array(np.zeros(len(query), dtype=np.int32)),
        pa.array(score),
        pa.array(ranks(hits), pa.int32()),
        pa.array(retrieval),
        pa.array(logits, mask=np.isnan(logits)),
    ]
    table = pa.Table.from_arrays(columns, schema=RANKINGS).append_column("query", hits["query"])
    order = [("query", "ascending"), ("score", "descending"), ("doc_id", "ascending")]
    table = table.sort_by(order)
    table = table.set_column(3, RANKINGS.field("rank"), pa.array(ranks(table), pa.int32()))
    return table.drop_columns("query")


def final_scores(
    query: Int32, retrieval: Float32, logits: Float32, interpolation: float
) -> Float32:
    """float32[n]: the score that orders each query's documents (see the module's docstring).

    Rows are sorted by query, then in retrieval order. Without any reranked document in a query,
    the score is the retrieval score.
    """
    reranked = np.isfinite(logits)
    mixed = np.float32(interpolation) * logits + np.float32(1 - interpolation) * retrieval
    scores: Float32 = np.where(reranked, mixed, retrieval).astype(np.float32)
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    for rows in np.split(np.arange(len(query)), starts[1:]):
        if reranked[rows].any() and not reranked[rows].all():
            _lower_tail(scores, retrieval, rows[reranked[rows]], rows[~reranked[rows]])
    return scores


def _lower_tail(scores: Float32, retrieval: Float32, head: Int64, tail: Int64) -> None:
    """Give the rows of `tail`, which are in retrieval order, scores below all of `head`."""
    lowest, top = scores[head].min(), retrieval[tail[0]]
    below = lowest
    for row in tail:
        below = min(lowest + (retrieval[row] - top), np.nextafter(below, np.float32(-np.inf)))
        scores[row] = below


def _keys(table: pa.Table) -> list[tuple[int, int, int]]:
    """(query, part, row) of each row: what names a hit in a query block."""
    names = ("query", "part", "row")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
