"""pooled: queries keep fewer token vectors, a query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.units import Stage, Unit
from shardrank.index.query_pooling import pooled_queries
from shardrank.stages.rank.feedback import Moved
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace


@dataclass(frozen=True)
class PooledSpec:
    """A block's token vectors, and the tokens for which a query keeps one."""

    queries: FileRef
    factor: float


POOLED = Stage("pooled", PooledSpec, Moved)


def fewer_tokens(
    context: Context, stage: Stage[PooledSpec, Moved], queries: Sequence[FileRef], factor: float
) -> Sequence[FileRef]:
    """The queries' token vectors, a file a block, one for so many; as they are where that is 1."""
    if factor == 1:
        return queries
    specs = [PooledSpec(ref, factor) for ref in queries]
    step = Step(partial(PoolQueries, context.workspace))
    return [done.made.vectors for done in run_stage(context, stage, specs, [step])]


@dataclass(frozen=True)
class PoolQueries:
    """A block's token vectors → fewer of each query."""

    workspace: Workspace

    def __call__(self, unit: Unit[PooledSpec], tables: Tables) -> Result[Moved]:
        column = self.workspace.read_table(unit.spec.queries, ["vector"])["vector"]
        fewer = pooled_queries(TokenVectors.of(column), unit.spec.factor)
        table = pa.table({"vector": fewer.array(pa.float32())})
        ref = self.workspace.write_scratch(unit, "vectors.parquet", table)
        return Result(Moved(ref), {"rows": table.num_rows})
