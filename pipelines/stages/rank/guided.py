"""Guided queries: a retriever's queries are moved until its scores of a pool of documents agree
with those of another retriever, and it searches again.

first-NAME searches, pool-NAME merges what it found with what the guide found, values-NAME gathers
the vectors of the pool by one sweep over the parts, guided-NAME writes the queries' new vectors.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float64
from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.files import FileRef
from shardrank.core.guidance import Guidance, guided
from shardrank.core.rank_settings import FusionSettings
from shardrank.core.topk import number_ids, pack
from shardrank.core.units import Stage, Unit
from shardrank.stages.rank.feedback import Moved, Round, first_round
from shardrank.stages.rank.merge import MERGE, FoundBy, Merging, merge
from shardrank.stages.rank.search import Retriever
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_values import (
    VALUES,
    BlockHits,
    Reading,
    gather_values,
    read_values,
)
from shardrank.version.sizing import bucket_parts


@dataclass(frozen=True)
class GuidedSpec:
    """A block's query vectors; its pool as HITS, the vectors of that, and what the guide found of
    it as HITS."""

    queries: FileRef
    pool: FileRef
    values: tuple[FileRef, ...]
    guide: FileRef
    how: Guidance


POOL = replace(MERGE, name="pool")
GUIDED = Stage("guided", GuidedSpec, Moved)


def guided_queries(
    context: Context, first: Round, retriever: Retriever, guide: FoundBy, how: Guidance
) -> list[FileRef]:
    """The queries' vectors for the second round, a file a block."""
    name, rows = retriever.name, first.blocks[0].queries.rows
    bucket = bucket_parts(len(first.version.parts), 2 * how.documents * rows)
    merging = Merging(
        k=2 * how.documents,
        ignore_same_id=context.settings.search.ignore_same_id,
        fusion=FusionSettings(),  # any: the order of the pool is of no account
        bucket_parts=bucket,
        stage=POOL.of(name),
    )
    found = first_round(context, first, retriever, how.documents)
    both = [found, replace(guide, k=min(guide.k, how.documents))]
    pools = merge(context, both, first.blocks, merging)
    hits = [BlockHits(done.made.buckets, done.made.pairs) for done in pools]
    reading = Reading(first.version, first.index, retriever.index.scored, bucket)
    values = gather_values(context, VALUES.of(name), reading, hits)
    each = zip(first.queries, pools, values, strict=True)
    specs = [GuidedSpec(q, p.made.hits, files, p.made.lists[1], how) for q, p, files in each]
    step = Step(partial(GuideQueries, context.workspace))
    return [done.made.vectors for done in run_stage(context, GUIDED.of(name), specs, [step])]


@dataclass(frozen=True)
class GuideQueries:
    """A block's vectors, its pool, and the guide's scores → its vectors for the second round."""

    workspace: Workspace

    def __call__(self, unit: Unit[GuidedSpec], tables: Tables) -> Result[Moved]:
        spec = unit.spec
        queries = matrix(self.workspace.read_table(spec.queries)["vector"])
        values = read_values(self.workspace, spec.values)
        if values is not None:
            pool, guide = (self.workspace.read_table(ref) for ref in (spec.pool, spec.guide))
            query, vectors = values["query"].to_numpy(), matrix(values["vector"])
            queries = guided(queries, query, vectors, scores_of(pool, guide), spec.how)
        table = pa.table({"vector": vector_column(queries)})
        ref = self.workspace.write_scratch(unit, "vectors.parquet", table)
        return Result(Moved(ref), {"rows": table.num_rows})


def scores_of(pool: pa.Table, guide: pa.Table) -> Float64:
    """float64[n]: of each of the pool's HITS the score that the guide gave its document; NaN where
    it did not find it."""
    ids = pa.chunked_array([*pool["doc_id"].chunks, *guide["doc_id"].chunks], pa.string())
    documents, _ = number_ids(ids)
    query = np.concatenate([pool["query"].to_numpy(), guide["query"].to_numpy()])
    keys = pack(query, documents)
    wanted, known = keys[: pool.num_rows], keys[pool.num_rows :]
    order = np.argsort(known)
    place = np.searchsorted(known, wanted, sorter=order)
    found = np.full(pool.num_rows, np.nan)
    if len(known):
        place = order[np.minimum(place, len(known) - 1)]
        same = known[place] == wanted
        found[same] = guide["score"].to_numpy()[place[same]]
    return found
