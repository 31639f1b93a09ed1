"""merge: the hits of all shards become each query's best documents, one query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow.compute as pc

from pipelines.core.topk import merge as merge_hits
from pipelines.core.topk import ranks
from pipelines.core.units import Done, FileRef, Unit
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


def merge(context: Context, searched: Sequence[Done], blocks: int, rerank_depth: int) -> list[Done]:
    """One marker a query block: output "hits", and how many pairs to rerank lie in each part."""
    k = context.settings.search.k
    names = [f"block-{n:05d}" for n in range(blocks)]
    units = [
        Unit(
            "merge",
            {
                "hits": [done.outputs[name].json() for done in searched],
                "k": k,
                "rerank_depth": rerank_depth,
            },
        )
        for name in names
    ]
    return run_stage(context, "merge", units, [Step(partial(Merge, context.workspace))])


@dataclass(frozen=True)
class Merge:
    """Every shard's hits for a query block → the block's global best, in the total order."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        refs = [FileRef.parse(ref) for ref in unit.spec["hits"]]
        hits = merge_hits([self.workspace.read_table(ref) for ref in refs], unit.spec["k"])
        outputs = {"hits": self.workspace.write_scratch(unit, "hits.parquet", hits)}
        near = hits["part"].filter(pc.less_equal(ranks(hits), unit.spec["rerank_depth"]))
        pairs = {str(row["values"]): row["counts"] for row in near.value_counts().to_pylist()}
        return Result(outputs, {"rows": hits.num_rows}, {"pairs": pairs})
