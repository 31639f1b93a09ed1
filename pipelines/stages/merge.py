"""merge: the hits of all shards become each query's best documents, one query block a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.topk import Best, ranks
from pipelines.core.units import Done, FileRef, Unit
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


def merge(
    context: Context, searched: Sequence[Done], queries: Sequence[int], rerank_depth: int
) -> list[Done]:
    """One marker a query block: output "hits", and how many pairs to rerank lie in each part.

    Args:
        context: of the run.
        searched: the shards' markers.
        queries: how many each block has.
        rerank_depth: documents of each query that are reranked.
    """
    k = context.settings.search.k
    units = [
        Unit(
            "merge",
            {
                "hits": [done.outputs[f"block-{number:05d}"].json() for done in searched],
                "queries": rows,
                "k": k,
                "rerank_depth": rerank_depth,
            },
        )
        for number, rows in enumerate(queries)
    ]
    return run_stage(context, "merge", units, [Step(partial(Merge, context.workspace))])


@dataclass(frozen=True)
class Merge:
    """Every shard's hits for a query block → the block's global best, in the total order."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        hits = self._best(unit.spec)
        outputs = {"hits": self.workspace.write_scratch(unit, "hits.parquet", hits)}
        near = hits["part"].filter(pc.less_equal(ranks(hits), unit.spec["rerank_depth"]))
        pairs = {str(row["values"]): row["counts"] for row in near.value_counts().to_pylist()}
        return Result(outputs, {"rows": hits.num_rows}, {"pairs": pairs})

    def _best(self, spec: Mapping[str, Any]) -> pa.Table:
        """One shard's hits after another, so that memory does not grow with the shards."""
        best = Best(spec["queries"], spec["k"])
        for ref in spec["hits"]:
            best.add(self.workspace.read_table(FileRef.parse(ref)))
        return best.table()
