"""merge: the hits of all shards become each query's best documents, one query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.excluded import EXCLUDED, longest, without_excluded
from shardrank.core.files import FileRef
from shardrank.core.fusion import fuse
from shardrank.core.part_hits import PartHits, with_parts
from shardrank.core.rank_settings import FusionSettings, PartsBy
from shardrank.core.settings_base import DECIDING
from shardrank.core.topk import Best, ranks
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.query_parts import BlockOfParts, places_of
from shardrank.stages.rank.search import Searched
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock
from shardrank.stages.shared.pairs_by_part import PairFile, PartPairs, pairs_by_part, write_buckets

#: Hits of their query's own id that a block names, so that their texts can be compared.
PLACES = 16


@dataclass(frozen=True)
class ListFiles:
    """What a retriever found for a query block: HITS in every shard; how many it gives; and what it
    found for each file of parts of the block's queries, likewise."""

    hits: tuple[FileRef, ...]
    k: int
    parts: tuple[tuple[FileRef, ...], ...] = ()


@dataclass(frozen=True)
class BlockParts:
    """How the lists of queries and of their parts become one, in all blocks of a batch alike; and
    the files of the parts of a block's queries."""

    how: PartsBy
    queries: tuple[FileRef, ...]


@dataclass(frozen=True)
class MergeSpec:
    """A query block: what each retriever found for it, how several lists become one, and how many
    documents are kept; parts of the index whose hits share a file; the parts of the queries, if
    there are any; and whether queries have lists of documents that are left out."""

    lists: tuple[ListFiles, ...]
    queries: FileRef
    fusion: Annotated[FusionSettings, DECIDING] | None
    k: int
    ignore_same_id: bool
    bucket_parts: int
    parts: BlockParts | None = None
    excludes: bool = False


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
        lists: of each retriever, where there are several.
        buckets: query, part, row and rank of the hits, by the parts that they lie in.
        pairs: how many lie in each part.
        same_id: those with their query's own id.
    """

    hits: FileRef
    lists: tuple[FileRef, ...]
    buckets: tuple[PairFile, ...]
    pairs: tuple[PartPairs, ...]
    same_id: SameIdHits


MERGE = Stage("merge", MergeSpec, Merged)


@dataclass(frozen=True)
class FoundBy:
    """The shards' markers of a retriever, and how many documents it gives; of each block its folded
    hits with their passages' scores, where documents are scored by several passages."""

    searched: Sequence[Done[Searched]]
    k: int
    passages: Sequence[FileRef] = ()


@dataclass(frozen=True)
class Merging:
    """How many documents of a query are kept, whether those with its own id are passed over, how
    several lists become one, parts whose hits share a file, the stage, how the lists of a query's
    parts become one with its own, and whether queries have lists that are left out, which `merge`
    takes from the settings for all alike."""

    k: int
    ignore_same_id: bool
    fusion: FusionSettings | None
    bucket_parts: int
    stage: Stage[MergeSpec, Merged] = MERGE
    parts: PartsBy | None = None
    excludes: bool = False


def merge(
    context: Context,
    found: Sequence[FoundBy],
    blocks: Sequence[QueryBlock],
    how: Merging,
    parts: Sequence[BlockOfParts] = (),
) -> list[Done[Merged]]:
    """The best hits of each query block.

    Args:
        context: of the run.
        found: what each retriever found: hits of so many documents more than are kept as may be
            passed over, since they have the query's own id or are in its list.
        blocks: the queries.
        how: they are merged.
        parts: of the queries, whose blocks were searched behind these, in their order.
    """
    how = replace(how, excludes=context.settings.search.exclude is not None)
    behind: dict[int, list[int]] = {}
    for place, each in enumerate(parts):
        behind.setdefault(each.of, []).append(place)
    specs = []
    for number, block in enumerate(blocks):
        mine = behind.get(number, [])
        lists = tuple(_files(each, number, [len(blocks) + n for n in mine]) for each in found)
        specs.append(_spec(block, lists, how, [parts[n].parts.queries for n in mine]))
    return run_stage(context, how.stage, specs, [Step(partial(Merge, context.workspace))])


def _spec(
    block: QueryBlock, lists: tuple[ListFiles, ...], how: Merging, parts: Sequence[FileRef]
) -> MergeSpec:
    """Of one block, by its lists and the files of its queries' parts."""
    return MergeSpec(
        lists=lists,
        queries=block.queries,
        fusion=how.fusion if len(lists) > 1 else None,
        k=how.k,
        ignore_same_id=how.ignore_same_id,
        bucket_parts=how.bucket_parts,
        parts=BlockParts(how.parts, tuple(parts)) if how.parts else None,
        excludes=how.excludes,
    )


def _files(found: FoundBy, block: int, parts: Sequence[int]) -> ListFiles:
    hits, *of_parts = (
        tuple(done.made.hits[number] for done in found.searched) for number in (block, *parts)
    )
    return ListFiles(hits, found.k, tuple(of_parts))


@dataclass(frozen=True)
class Merge:
    """Every shard's hits for a query block → the block's global best, in the total order."""

    workspace: Workspace

    def __call__(self, unit: Unit[MergeSpec], tables: Tables) -> Result[Merged]:
        spec, ignored = unit.spec, unit.spec.ignore_same_id
        ids = self.workspace.read_table(spec.queries, ["query_id"])["query_id"]
        found = [self._best(spec, each, each.k + ignored) for each in spec.lists]
        told = _told(_one(found, spec, spec.k + ignored), ids)
        if ignored:
            both = zip(found, spec.lists, strict=True)
            found = [_without(hits, ids, each.k) for hits, each in both]
        hits = _one(found, spec, spec.k)
        buckets, pairs = bucketed(self.workspace, unit, hits, spec.bucket_parts)
        made = Merged(
            hits=self.workspace.write_scratch(unit, "hits.parquet", hits),
            lists=self._lists(unit, found),
            buckets=buckets,
            pairs=pairs,
            same_id=told,
        )
        return Result(made, {"rows": hits.num_rows})

    def _best(self, spec: MergeSpec, files: ListFiles, k: int) -> pa.Table:
        """What a retriever found, by the queries and by their parts."""
        own = self._first(files.hits, spec.queries, k, spec.excludes)
        if spec.parts is None:
            return own
        places = [places_of(self.workspace, ref) for ref in spec.parts.queries]
        found = [
            self._first(hits, ref, k, spec.excludes)
            for hits, ref in zip(files.parts, spec.parts.queries, strict=True)
        ]
        parts = [PartHits(hits, *place) for hits, place in zip(found, places, strict=True)]
        return with_parts(own, parts, spec.parts.how, k)

    def _first(self, hits: Sequence[FileRef], queries: FileRef, k: int, excludes: bool) -> pa.Table:
        """One shard's hits after another, so that memory does not grow with the shards; without
        documents in the queries' lists."""
        lists = self._lists_of(queries) if excludes else None
        best = Best(queries.rows, k if lists is None else k + longest(lists))
        for ref in hits:
            best.add(self.workspace.read_table(ref))
        found = best.table()
        kept = found if lists is None else without_excluded(found, lists)
        return _first(kept, k)  # a guide is searched for more than are asked of it

    def _lists_of(self, queries: FileRef) -> pa.ChunkedArray:
        return self.workspace.read_table(queries, [EXCLUDED])[EXCLUDED]

    def _lists(self, unit: Unit[MergeSpec], found: Sequence[pa.Table]) -> tuple[FileRef, ...]:
        if len(found) == 1:
            return ()
        return tuple(
            self.workspace.write_scratch(unit, f"list-{n}.parquet", hits)
            for n, hits in enumerate(found)
        )


def bucketed(
    workspace: Workspace, unit: Unit[Any], hits: pa.Table, parts: int
) -> tuple[tuple[PairFile, ...], tuple[PartPairs, ...]]:
    """Query, part, row and rank of HITS by the parts that they lie in, and how many lie in each."""
    rank = pa.array(ranks(hits), pa.int32())
    pairs = hits.select(["query", "part", "row"]).append_column("rank", rank)
    files = write_buckets(workspace, unit, "pairs", pairs, parts)
    return files, pairs_by_part(hits["part"])


def _one(found: Sequence[pa.Table], spec: MergeSpec, k: int) -> pa.Table:
    """Several lists fused; one as it is, but for what is behind the k-th."""
    if spec.fusion:
        return fuse(found, spec.fusion, k)
    return _first(found[0], k)


def _first(hits: pa.Table, k: int) -> pa.Table:
    """HITS up to each query's k-th."""
    return hits.filter(pa.array(ranks(hits) <= k)).combine_chunks()


def _without(hits: pa.Table, ids: pa.ChunkedArray, k: int) -> pa.Table:
    """The first k of each query, but for those with the query's own id."""
    others = hits.filter(pc.not_equal(ids.take(hits["query"]), hits["doc_id"]))
    return _first(others, k)


def _told(hits: pa.Table, ids: pa.ChunkedArray) -> SameIdHits:
    same = pc.equal(ids.take(hits["query"]), hits["doc_id"])
    found = hits.append_column("rank", pa.array(ranks(hits))).filter(same)
    near = found.sort_by([("rank", "ascending"), ("query", "ascending")]).slice(0, PLACES)
    places = zip(*(near[name].to_pylist() for name in ("query", "part", "row")), strict=True)
    first = pc.sum(pc.equal(found["rank"], 1)).as_py() or 0
    return SameIdHits(found.num_rows, first, tuple(HitPlace(*place) for place in places))
