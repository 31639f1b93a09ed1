"""reorder: the hits as a reranker orders them, for the next one, a query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from shardrank.core.files import FileRef
from shardrank.core.topk import rescored
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.blend import Blend, final_scores
from shardrank.stages.rank.block_scores import read_block_scores
from shardrank.stages.rank.merge import bucketed
from shardrank.stages.rank.rerank_plan import Scores, scores_by_block
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.pairs_by_part import PairFile, PartPairs


@dataclass(frozen=True)
class Ordered:
    """A block's hits in an order.

    Attributes:
        hits: HITS.
        buckets: query, part, row and rank, by the parts that they lie in.
        pairs: how many lie in each part.
    """

    hits: FileRef
    buckets: tuple[PairFile, ...]
    pairs: tuple[PartPairs, ...]


@dataclass(frozen=True)
class ReorderSpec:
    """A block's hits, the scores of its pairs, and how both become the order."""

    hits: FileRef
    scores: tuple[FileRef, ...]
    blend: Blend
    bucket_parts: int


REORDER = Stage("reorder", ReorderSpec, Ordered)


def reorder(
    context: Context,
    before: Sequence[Ordered],
    reranked: Sequence[Done[Scores]],
    blend: Blend,
    bucket: int,
    number: int,
) -> list[Ordered]:
    """Of each block its hits by the scores of the reranker of this number; parts of a bucket share
    a file."""
    scores = scores_by_block(reranked, len(before))
    both = zip(before, scores, strict=True)
    specs = [ReorderSpec(each.hits, files, blend, bucket) for each, files in both]
    stage = REORDER.of(str(number))
    dones = run_stage(context, stage, specs, [Step(partial(Reorder, context.workspace))])
    return [done.made for done in dones]


@dataclass(frozen=True)
class Reorder:
    """A block's hits and scores → its hits in the new order."""

    workspace: Workspace

    def __call__(self, unit: Unit[ReorderSpec], tables: Tables) -> Result[Ordered]:
        spec = unit.spec
        hits = self.workspace.read_table(spec.hits)
        logits = read_block_scores(self.workspace, spec.scores, hits, spec.blend.depth).logits
        query, score = hits["query"].to_numpy(), hits["score"].to_numpy()
        final = final_scores(query, score, logits, spec.blend.interpolation)
        hits = rescored(hits, final)
        made = Ordered(
            self.workspace.write_scratch(unit, "hits.parquet", hits),
            *bucketed(self.workspace, unit, hits, spec.bucket_parts),
        )
        return Result(made, {"rows": hits.num_rows})
