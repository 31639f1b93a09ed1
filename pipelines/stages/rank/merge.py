"""merge: the hits of all shards become each query's best documents, one query block a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.topk import Best, ranks
from shardrank.core.units import Done, FileRef, Unit
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock

#: Hits of their query's own id that a block names, so that their texts can be compared.
PLACES = 16


def merge(
    context: Context, searched: Sequence[Done], blocks: Sequence[QueryBlock], rerank_depth: int
) -> list[Done]:
    """One marker a query block: output "hits"; facts "pairs", how many to rerank lie in each part,
    and "same_id": how many hits have their query's own id, how many of them first, and places.

    Args:
        context: of the run.
        searched: the shards' markers; hits of one document more than are kept where those with the
            query's own id are passed over.
        blocks: the queries.
        rerank_depth: documents of each query that are reranked.
    """
    settings = context.settings.search
    units = [
        Unit(
            "merge",
            {
                "hits": [done.outputs[f"block-{number:05d}"].json() for done in searched],
                "queries": block.queries.json(),
                "k": settings.k,
                "ignore_same_id": settings.ignore_same_id,
                "rerank_depth": rerank_depth,
            },
        )
        for number, block in enumerate(blocks)
    ]
    return run_stage(context, "merge", units, [Step(partial(Merge, context.workspace))])


@dataclass(frozen=True)
class Merge:
    """Every shard's hits for a query block → the block's global best, in the total order."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        spec, asked = unit.spec, FileRef.parse(unit.spec["queries"])
        ids = self.workspace.read_table(asked, ["query_id"])["query_id"]
        ignored = spec["ignore_same_id"]
        hits = self._best(spec, asked.rows, spec["k"] + ignored)
        same = pc.equal(ids.take(hits["query"]), hits["doc_id"])
        told = _told(hits, same)
        if ignored:
            hits = hits.filter(pc.invert(same))
            hits = hits.filter(pa.array(ranks(hits) <= spec["k"])).combine_chunks()
        outputs = {"hits": self.workspace.write_scratch(unit, "hits.parquet", hits)}
        near = hits["part"].filter(pc.less_equal(ranks(hits), spec["rerank_depth"]))
        pairs = {str(row["values"]): row["counts"] for row in near.value_counts().to_pylist()}
        return Result(outputs, {"rows": hits.num_rows}, {"pairs": pairs, "same_id": told})

    def _best(self, spec: Mapping[str, Any], queries: int, k: int) -> pa.Table:
        """One shard's hits after another, so that memory does not grow with the shards."""
        best = Best(queries, k)
        for ref in spec["hits"]:
            best.add(self.workspace.read_table(FileRef.parse(ref)))
        return best.table()


def _told(hits: pa.Table, same: pa.ChunkedArray) -> dict[str, Any]:
    """Of the hits with their query's own id: how many, how many first, and where the first lie."""
    found = hits.append_column("rank", pa.array(ranks(hits))).filter(same)
    near = found.sort_by([("rank", "ascending"), ("query", "ascending")]).slice(0, PLACES)
    places = zip(*(near[name].to_pylist() for name in ("query", "part", "row")), strict=True)
    first = pc.sum(pc.equal(found["rank"], 1)).as_py() or 0
    return {"queries": found.num_rows, "first": first, "places": [list(p) for p in places]}
