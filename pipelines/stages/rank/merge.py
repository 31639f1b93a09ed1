"""merge: the hits of all shards become each query's best documents, one query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.topk import Best, ranks
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.search import Searched
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock
from shardrank.stages.shared.pairs_by_part import PairFile, PartPairs, pairs_by_part, write_buckets

#: Hits of their query's own id that a block names, so that their texts can be compared.
PLACES = 16


@dataclass(frozen=True)
class MergeSpec:
    """A query block: its hits in every shard, and how many are kept; parts whose hits share a
    file."""

    hits: tuple[FileRef, ...]
    queries: FileRef
    k: int
    ignore_same_id: bool
    bucket_parts: int


@dataclass(frozen=True)
class HitPlace:
    """A query by its number in its block, and the row of a hit."""

    query: int
    part: int
    row: int


@dataclass(frozen=True)
class SameIdHits:
    """Hits with their query's own id: how many, how many of them first, and some places."""

    queries: int
    first: int
    places: tuple[HitPlace, ...]


@dataclass(frozen=True)
class Merged:
    """What a block finds.

    Attributes:
        hits: HITS.
        buckets: query, part, row and rank of the hits, by the parts that they lie in.
        pairs: how many lie in each part.
        same_id: those with their query's own id.
    """

    hits: FileRef
    buckets: tuple[PairFile, ...]
    pairs: tuple[PartPairs, ...]
    same_id: SameIdHits


MERGE = Stage("merge", MergeSpec, Merged)


def merge(
    context: Context,
    searched: Sequence[Done[Searched]],
    blocks: Sequence[QueryBlock],
    bucket: int,
) -> list[Done[Merged]]:
    """The best hits of each query block.

    Args:
        context: of the run.
        searched: the shards' markers; hits of one document more than are kept where those with the
            query's own id are passed over.
        blocks: the queries.
        bucket: parts whose hits share a file.
    """
    settings = context.settings.search
    specs = [
        MergeSpec(
            hits=tuple(done.made.hits[number] for done in searched),
            queries=block.queries,
            k=settings.k,
            ignore_same_id=settings.ignore_same_id,
            bucket_parts=bucket,
        )
        for number, block in enumerate(blocks)
    ]
    return run_stage(context, MERGE, specs, [Step(partial(Merge, context.workspace))])


@dataclass(frozen=True)
class Merge:
    """Every shard's hits for a query block → the block's global best, in the total order."""

    workspace: Workspace

    def __call__(self, unit: Unit[MergeSpec], tables: Tables) -> Result[Merged]:
        spec, ignored = unit.spec, unit.spec.ignore_same_id
        ids = self.workspace.read_table(spec.queries, ["query_id"])["query_id"]
        hits = self._best(spec, spec.k + ignored)
        same = pc.equal(ids.take(hits["query"]), hits["doc_id"])
        told = _told(hits, same)
        if ignored:
            hits = hits.filter(pc.invert(same))
            hits = hits.filter(pa.array(ranks(hits) <= spec.k)).combine_chunks()
        rank = pa.array(ranks(hits), pa.int32())
        pairs = hits.select(["query", "part", "row"]).append_column("rank", rank)
        made = Merged(
            hits=self.workspace.write_scratch(unit, "hits.parquet", hits),
            buckets=write_buckets(self.workspace, unit, "pairs", pairs, spec.bucket_parts),
            pairs=pairs_by_part(hits["part"]),
            same_id=told,
        )
        return Result(made, {"rows": hits.num_rows})

    def _best(self, spec: MergeSpec, k: int) -> pa.Table:
        """One shard's hits after another, so that memory does not grow with the shards."""
        best = Best(spec.queries.rows, k)
        for ref in spec.hits:
            best.add(self.workspace.read_table(ref))
        return best.table()


def _told(hits: pa.Table, same: pa.ChunkedArray) -> SameIdHits:
    found = hits.append_column("rank", pa.array(ranks(hits))).filter(same)
    near = found.sort_by([("rank", "ascending"), ("query", "ascending")]).slice(0, PLACES)
    places = zip(*(near[name].to_pylist() for name in ("query", "part", "row")), strict=True)
    first = pc.sum(pc.equal(found["rank"], 1)).as_py() or 0
    return SameIdHits(found.num_rows, first, tuple(HitPlace(*place) for place in places))
