"""search: every shard is opened once for the batch of queries, refined in the same sweep.

The queries go to the documents: an actor opens a shard, probes it for as many blocks of queries as
`search.memory_mb` allows, at least one, and then reads the vectors of the shard's parts one part at
a time to score the hits exactly. How the blocks are grouped changes no hit. Each shard gives its
share of k documents, so that a query has k whatever the documents' lengths are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.topk import split
from shardrank.core.units import Done, Stage, Unit
from shardrank.index.exact import sweep_topk
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock
from shardrank.stages.shared.open_shards import (
    SearchedShard,
    document_numbers,
    open_shard,
    passages_a_document,
    searched_shards,
)
from shardrank.stages.shared.part_blocks import PartVectors, load_blocks, offsets
from shardrank.version.manifest import Version
from shardrank.version.sizing import REFINED_BYTES, fill, queries_at_once

if TYPE_CHECKING:
    from shardrank.index.documents import ShardHits


@dataclass(frozen=True)
class Effort:
    """How hard to look: documents kept; lists probed and documents refined in each shard (both 0:
    exact search)."""

    k: int
    nprobe: int
    depth: int


@dataclass(frozen=True)
class SearchSpec:
    """A shard, the files of query vectors, and how hard to look."""

    shard: SearchedShard
    queries: tuple[FileRef, ...]
    how: Effort


@dataclass(frozen=True)
class Searched:
    """HITS in a shard, a file for each block of queries."""

    hits: tuple[FileRef, ...]


SEARCH = Stage("search", SearchSpec, Searched)


def search(
    context: Context, index: Workspace, version: Version, blocks: Sequence[QueryBlock], how: Effort
) -> list[Done[Searched]]:
    """The hits of all queries, a unit a shard."""
    specs = plan_search(version, blocks, how)
    pool = context.search_pool(len(specs))
    queries = [block.vectors for block in blocks]
    batch = SearchBatch(queries, version.dense.card.dim, context.settings.search.memory_mb << 20)
    make = partial(Search, context.workspace, index, batch)
    return run_stage(context, SEARCH, specs, [Step(make, pool)])


def plan_search(version: Version, blocks: Sequence[QueryBlock], how: Effort) -> list[SearchSpec]:
    """Of each shard."""
    queries = tuple(block.vectors for block in blocks)
    shards = searched_shards(version.parts, version.index.column, version.index.shards, how.k)
    return [SearchSpec(shard, queries, how) for shard in shards]


class Opened(Protocol):
    """A shard that is ready to be searched, any number of times."""

    def hits(self, queries: Float32, starts: Sequence[int]) -> Iterator[pa.Table]:
        """For each run of queries [starts[i], starts[i + 1]): HITS, counted from its start."""


@dataclass(frozen=True)
class Exact:
    """A shard without a file: all of its vectors are compared (protocol: Opened)."""

    index: Workspace
    parts: Sequence[PartVectors]
    how: Effort

    def hits(self, queries: Float32, starts: Sequence[int]) -> Iterator[pa.Table]:
        found = sweep_topk(queries, load_blocks(self.index, self.parts), self.how.k)
        return split(found, starts)


class Probed:
    """A shard in memory: it is probed, and what is found is refined (protocol: Opened)."""

    def __init__(self, index: Workspace, shard: SearchedShard, how: Effort, memory: int) -> None:
        from shardrank.index.documents import Reach  # brings faiss and numba

        self._index, self._parts, self._k = index, shard.parts, how.k
        self._memory, self._reach = memory, Reach(how.nprobe, how.depth, shard.least)
        self._search = open_shard(index, shard, document_numbers(index, shard.parts))

    def hits(self, queries: Float32, starts: Sequence[int]) -> Iterator[pa.Table]:
        """Those of as many runs are refined at once as memory has room for: at least one's."""
        found = self._search.find(queries, self._reach)
        most = max(0, self._memory - queries.nbytes) // REFINED_BYTES
        for run in fill(np.diff(found.ends[starts]).tolist(), most):
            bounds = [starts[run[0]], *(starts[n + 1] for n in run)]
            yield from self._refined(queries, found, bounds)

    def _refined(
        self, queries: Float32, found: "ShardHits", bounds: Sequence[int]
    ) -> Iterator[pa.Table]:
        from shardrank.index.refine import refine  # brings numba

        first, last = bounds[0], bounds[-1]
        blocks, hits = load_blocks(self._index, self._parts), found.of(first, last)
        refined = refine(queries[first:last], hits, blocks, offsets(self._parts))
        for begin, end in pairwise(bounds):
            yield refined.best(begin - first, end - first, self._k)


@dataclass(frozen=True)
class SearchBatch:
    """The queries of a run.

    Attributes:
        files: their vectors, a file a block.
        dim: components of a vector.
        memory: bytes for the queries that are searched at once.
    """

    files: Sequence[FileRef]
    dim: int
    memory: int


class Search:
    """A shard → the best documents of every query in it, one file a query block."""

    def __init__(self, workspace: Workspace, index: Workspace, batch: SearchBatch) -> None:
        self._workspace = workspace
        self._index = index
        self._batch = batch
        self._held: tuple[Sequence[int], Float32] | None = None

    def __call__(self, unit: Unit[SearchSpec], tables: Tables) -> Result[Searched]:
        how, rows = unit.spec.how, [ref.rows for ref in self._batch.files]
        opened = self._open(unit.spec.shard, how)
        refined = how.depth * passages_a_document(unit.spec.shard.parts)
        some = queries_at_once(self._batch.memory, how.k, refined, self._batch.dim)
        files: list[FileRef] = []
        for group in fill(rows, some):
            files += self._search(unit, opened, group)
        hits = sum(ref.rows for ref in files)
        return Result(Searched(tuple(files)), {"rows": sum(rows), "hits": hits})

    def _open(self, shard: SearchedShard, how: Effort) -> Opened:
        if shard.file is None:
            return Exact(self._index, shard.parts, how)
        return Probed(self._index, shard, how, self._batch.memory)

    def _search(self, unit: Unit[SearchSpec], shard: Opened, group: Sequence[int]) -> list[FileRef]:
        """The files of the blocks of one group, whose hits are in memory together."""
        starts = list(accumulate((self._batch.files[n].rows for n in group), initial=0))
        blocks = shard.hits(self._vectors(group, starts), starts)
        return [
            self._workspace.write_scratch(unit, f"{n:05d}.parquet", hits)
            for n, hits in zip(group, blocks, strict=True)
        ]

    def _vectors(self, group: Sequence[int], starts: Sequence[int]) -> Float32:
        """float32[q, d] of these blocks; they are kept, so those of an only group are read once."""
        if self._held is None or self._held[0] != group:
            self._held = None  # lets go of the last group's
            vectors = np.empty((starts[-1], self._batch.dim), np.float32)
            for number, (begin, end) in zip(group, pairwise(starts), strict=True):
                table = self._workspace.read_table(self._batch.files[number])
                vectors[begin:end] = matrix(table["vector"])
            self._held = (group, vectors)
        return self._held[1]
