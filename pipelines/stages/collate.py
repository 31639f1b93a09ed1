"""collate: retrieval and reranker scores become the contract's rankings, one query block a unit.

Scores: a reranked document has a·logit + (1-a)·retrieval score. Those beyond the reranking depth
follow in their retrieval order: their score is the lowest reranked one, less how far their
retrieval score lies below that of the last reranked document, so that the score alone gives the
order (trec_eval and others sort by it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.protocols import Bool, Float32, Int32, Int64
from pipelines.core.schemas import RANKINGS
from pipelines.core.topk import ranks
from pipelines.core.units import Done, FileRef, Unit
from pipelines.stages.encode import QueryBlock
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


def collate(
    context: Context,
    blocks: Sequence[QueryBlock],
    merged: Sequence[Done],
    reranked: Sequence[Done],
    interpolation: float,
) -> list[Done]:
    """One marker a query block: output "rankings"."""
    scores = [done.outputs["scores"].json() for done in reranked]
    units = [
        Unit(
            "collate",
            {
                "block": number,
                "queries": block.queries.json(),
                "hits": done.outputs["hits"].json(),
                "scores": scores,
                "interpolation": interpolation,
            },
        )
        for number, (block, done) in enumerate(zip(blocks, merged, strict=True))
    ]
    return run_stage(context, "collate", units, [Step(partial(Collate, context.workspace))])


@dataclass(frozen=True)
class Collate:
    """A query block's hits and scores → its rankings."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        spec = unit.spec
        hits = self.workspace.read_table(FileRef.parse(spec["hits"]))
        logits = self._logits(spec, hits)
        queries = self.workspace.read_table(FileRef.parse(spec["queries"]), ["query_id"])
        table = rankings(hits, logits, spec["interpolation"], queries["query_id"])
        key = f"rankings/{spec['block']:05d}.parquet"
        ref = self.workspace.write_table(key, table)
        reranked = int(np.isfinite(logits).sum())
        return Result({"rankings": ref}, {"rows": table.num_rows, "reranked": reranked}, {})

    def _logits(self, spec: Mapping[str, Any], hits: pa.Table) -> Float32:
        """float32[n], row-aligned with the hits; NaN where a hit was not reranked, or where its
        logit is not finite."""
        logits = np.full(hits.num_rows, np.nan, dtype=np.float32)
        keys = _keys(hits)
        order = np.argsort(keys)
        for ref in spec["scores"]:
            table = self.workspace.read_table(FileRef.parse(ref))
            table = table.filter(pc.equal(table["block"], spec["block"]))
            at = order[np.searchsorted(keys, _keys(table), sorter=order)]
            logits[at] = table["logit"].to_numpy()
        logits[~np.isfinite(logits)] = np.nan
        return logits


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
    query = hits["query"].to_numpy()
    retrieval = hits["score"].to_numpy()
    score = final_scores(query, retrieval, logits, interpolation)
    table = pa.Table.from_arrays(
        [
            query_ids.take(hits["query"]).combine_chunks(),
            hits["doc_id"].combine_chunks(),
            hits["passage"].combine_chunks(),
            pa.array(np.zeros(len(query), dtype=np.int32)),
            pa.array(score),
            pa.array(ranks(hits), pa.int32()),
            pa.array(retrieval),
            pa.array(logits, mask=np.isnan(logits)),
        ],
        schema=RANKINGS,
    )
    numbered = table.append_column("query", hits["query"])
    order = [("query", "ascending"), ("score", "descending"), ("doc_id", "ascending")]
    ordered = numbered.sort_by(order)
    return ordered.set_column(3, RANKINGS.field("rank"), pa.array(ranks(ordered))).drop_columns(
        "query"
    )


def final_scores(
    query: Int32, retrieval: Float32, logits: Float32, interpolation: float
) -> Float32:
    """float32[n]: the score that orders each query's documents (see the module's docstring).

    Without any reranked document in a query, it is the retrieval score.
    """
    mixed = np.float32(interpolation) * logits + np.float32(1 - interpolation) * retrieval
    reranked = np.isfinite(logits)
    lowest, last = _least(query, mixed, reranked), _least(query, retrieval, reranked)
    return np.where(reranked, mixed, lowest + (retrieval - last)).astype(np.float32)


def _least(query: Int32, values: Float32, where: Bool) -> Float32:
    """float32[n]: the least marked value of each row's query; 0 where none is marked."""
    least = np.full(int(query.max(initial=-1)) + 1, np.inf, dtype=np.float32)
    np.minimum.at(least, query[where], values[where])
    least[~np.isfinite(least)] = 0
    return least[query]


def _keys(table: pa.Table) -> Int64:
    """int64[n, as one number]: query, part and row of each row (22 bits, 21 bits, 21 bits)."""
    names = ("query", "part", "row")
    query, part, row = (table[name].to_numpy().astype(np.int64) for name in names)
    joint: Int64 = (query << 42) | (part << 21) | row
    return joint
