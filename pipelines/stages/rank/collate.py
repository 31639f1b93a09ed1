"""collate: retrieval and reranker scores become the contract's rankings, one query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.topk import ranks
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.blend import Blend, Retrieved, rankings
from shardrank.stages.rank.block_scores import places, read_block_scores
from shardrank.stages.rank.reorder import Ordered
from shardrank.stages.rank.rerank_plan import Scores, answers_by_block, scores_by_block
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock


@dataclass(frozen=True)
class CollateSpec:
    """A query block: its hits as they were retrieved, and as the last reranker found them (the same
    where there is one, or none); the scores that it gave; how both become one; and of several
    rerankers the scores that each gave; and of each what it wrote, where that is kept."""

    block: int
    queries: FileRef
    retrieved: FileRef
    hits: FileRef
    scores: tuple[FileRef, ...]
    blend: Blend
    steps: tuple[tuple[FileRef, ...], ...]
    answers: tuple[tuple[FileRef, ...], ...]


@dataclass(frozen=True)
class Collated:
    """RANKINGS of a query block."""

    rankings: FileRef


COLLATE = Stage("collate", CollateSpec, Collated)


@dataclass(frozen=True)
class LastOrder:
    """Of each block its hits as they were retrieved, and as the last reranker found them; the
    markers of each reranker's scores; and how the last ones become the order."""

    retrieved: Sequence[FileRef]
    hits: Sequence[Ordered]
    steps: Sequence[Sequence[Done[Scores]]]
    blend: Blend

    @property
    def reranked(self) -> Sequence[Done[Scores]]:
        """The last one's."""
        return self.steps[-1] if self.steps else ()


def collate(
    context: Context, blocks: Sequence[QueryBlock], last: LastOrder
) -> list[Done[Collated]]:
    """The rankings of each query block; counts "rows", "queries" (those that have a hit), and of
    the pairs that were to be scored "pairs", "not_finite" and "truncated"."""
    steps = [scores_by_block(step, len(blocks)) for step in last.steps]
    answers = [answers_by_block(step, len(blocks)) for step in last.steps]
    each = zip(blocks, last.retrieved, last.hits, strict=True)
    specs = [
        CollateSpec(
            block=n,
            queries=block.queries,
            retrieved=retrieved,
            hits=ordered.hits,
            scores=steps[-1][n] if steps else (),
            blend=last.blend,
            steps=tuple(step[n] for step in steps) if len(steps) > 1 else (),
            answers=tuple(step[n] for step in answers),
        )
        for n, (block, retrieved, ordered) in enumerate(each)
    ]
    return run_stage(context, COLLATE, specs, [Step(partial(Collate, context.workspace))])


@dataclass(frozen=True)
class Collate:
    """A query block's hits and scores → its rankings."""

    workspace: Workspace

    def __call__(self, unit: Unit[CollateSpec], tables: Tables) -> Result[Collated]:
        spec = unit.spec
        hits = self.workspace.read_table(spec.hits)
        found = read_block_scores(self.workspace, spec.scores, hits, spec.blend.depth)
        queries = self.workspace.read_table(spec.queries, ["query_id"])
        retrieved = self._retrieved(spec, hits)
        table = rankings(
            hits, found.logits, spec.blend.interpolation, queries["query_id"], retrieved
        )
        ref = self.workspace.write_table(f"rankings/{spec.block:05d}.parquet", table)
        for number, files in enumerate(spec.steps, 1):
            step = self._step(files, hits, queries["query_id"])
            self.workspace.write_table(f"scores/{number}/{spec.block:05d}.parquet", step)
        for number, files in enumerate(spec.answers, 1):
            if files:
                wrote = self._answers(files, queries["query_id"])
                self.workspace.write_table(f"answers/{number}/{spec.block:05d}.parquet", wrote)
        counts = {
            "rows": table.num_rows,
            "queries": len(np.unique(hits["query"].to_numpy())),
            "pairs": int(found.scored.sum()),
            "not_finite": int((found.scored & ~np.isfinite(found.logits)).sum()),
            "truncated": int(found.truncated.sum()),
        }
        return Result(Collated(ref), counts)

    def _step(self, files: Sequence[FileRef], hits: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
        """What a reranker of several gave: query_id, doc_id, passage, score, truncated."""
        found = read_block_scores(self.workspace, files, hits, hits.num_rows)
        table = hits.select(["query", "doc_id", "passage"]).set_column(
            0, "query_id", ids.take(hits["query"])
        )
        table = table.append_column("score", pa.array(found.logits, mask=np.isnan(found.logits)))
        table = table.append_column("truncated", pa.array(found.truncated))
        return table.filter(pa.array(found.scored))

    def _answers(self, files: Sequence[FileRef], ids: pa.ChunkedArray) -> pa.Table:
        """What a reranker wrote: query_id, call (from 0), answer."""
        wrote = pa.concat_tables([self.workspace.read_table(ref) for ref in files])
        return wrote.set_column(0, "query_id", ids.take(wrote["query"]))

    def _retrieved(self, spec: CollateSpec, hits: pa.Table) -> Retrieved:
        """Row by row of the hits, how they were retrieved."""
        if spec.retrieved == spec.hits:
            return Retrieved(ranks(hits), hits["score"].to_numpy())
        found = self.workspace.read_table(spec.retrieved)
        at = {key: row for row, key in enumerate(places(found))}
        rows = np.array([at[key] for key in places(hits)], np.int64)
        return Retrieved(ranks(found)[rows], found["score"].to_numpy()[rows])
