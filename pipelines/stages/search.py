"""search: every shard once for the whole batch of queries, refined in the same sweep.

The queries go to the documents: an actor holds all query vectors, opens a shard, probes it, and
then reads the vectors of the shard's parts one part at a time to score the hits exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.columns import matrix
from pipelines.core.topk import split
from pipelines.core.units import Done, FileRef, Unit
from pipelines.core.version import Version
from pipelines.index.exact import sweep_topk
from pipelines.index.refine import refine
from pipelines.index.shard import Shard
from pipelines.index.shard import use_threads as use_faiss_threads
from pipelines.models.products import int8_product
from pipelines.models.threads import use_threads as use_torch_threads
from pipelines.stages.blocks import live_positions, load_blocks, offsets, part_spec
from pipelines.stages.encode import QueryBlock
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


@dataclass(frozen=True)
class Effort:
    """How hard to look: documents kept, lists probed, hits refined (both 0: exact search)."""

    k: int
    nprobe: int
    depth: int


def search(
    context: Context, index: Workspace, version: Version, blocks: Sequence[QueryBlock], how: Effort
) -> list[Done]:
    """One marker a shard; its output block-N holds the hits of query block N."""
    units = plan_search(version, blocks, how)
    pool = context.search_pool(len(units))
    make = partial(Search, context.workspace, index, [b.vectors for b in blocks])
    return run_stage(context, "search", units, [Step(make, pool)])


def plan_search(version: Version, blocks: Sequence[QueryBlock], how: Effort) -> list[Unit]:
    """One unit a shard; it is named from the shard, the query vectors and the effort."""
    common = {"queries": [block.vectors.json() for block in blocks], "how": asdict(how)}
    return [
        Unit(
            "search",
            {
                "shard": shard.file.json() if shard.file else None,
                "parts": [part_spec(n, version.parts[n]) for n in shard.parts],
                **common,
            },
        )
        for shard in version.shards
    ]


class Search:
    """A shard → the best documents of every query in it, one file a query block."""

    def __init__(self, workspace: Workspace, index: Workspace, queries: list[FileRef]) -> None:
        use_faiss_threads(1)
        use_torch_threads(1)
        self._workspace = workspace
        self._index = index
        blocks = [matrix(workspace.read_table(ref)["vector"]) for ref in queries]
        self._starts = np.cumsum([0, *(len(block) for block in blocks)]).tolist()
        self._queries = np.concatenate(blocks)

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        hits = self._hits(unit.spec)
        outputs = {
            f"block-{n:05d}": self._workspace.write_scratch(unit, f"{n:05d}.parquet", block)
            for n, block in enumerate(split(hits, self._starts))
        }
        return Result(outputs, {"rows": len(self._queries), "hits": hits.num_rows}, {})

    def _hits(self, spec: Mapping[str, Any]) -> pa.Table:
        how = Effort(**spec["how"])
        blocks = load_blocks(self._index, spec["parts"])
        if spec["shard"] is None:
            return sweep_topk(self._queries, blocks, how.k)
        shard = Shard.load(
            self._index.storage.read_checked(FileRef.parse(spec["shard"])), int8_product
        )
        live = live_positions(self._index, spec["parts"])
        positions = shard.search(self._queries, how.nprobe, how.depth, live)
        starts = offsets(spec["parts"])
        return refine(self._queries, positions, blocks, starts, how.k)
