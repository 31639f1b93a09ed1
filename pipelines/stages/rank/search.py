"""search: every shard is opened once for the batch of queries, refined in the same sweep.

The queries go to the documents: an actor opens a shard, probes it for as many blocks of queries as
`search.memory_mb` allows, at least one, and then reads the vectors of the shard's parts one part at
a time to score the hits exactly. How the blocks are grouped changes no hit. Each shard gives its
share of k documents, so that a query has k whatever the documents' lengths are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from shardrank.core.cards import components_of
from shardrank.core.feedback import Feedback
from shardrank.core.files import FileRef
from shardrank.core.guidance import Guidance
from shardrank.core.hubness import Correction
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.opened import open_kind
from shardrank.stages.rank.opening import Effort, Opened, Opening
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.open_shards import CodedColumn, SearchedShard, searched_shards
from shardrank.version.indexes import Index
from shardrank.version.manifest import Version
from shardrank.version.sizing import TOKEN_KINDS, Kind, fill


@dataclass(frozen=True)
class SearchSpec:
    """A shard, the files of query vectors, and how hard to look."""

    kind: Kind
    shard: SearchedShard
    queries: tuple[FileRef, ...]
    how: Effort


@dataclass(frozen=True)
class Searched:
    """HITS in a shard, a file for each block of queries."""

    hits: tuple[FileRef, ...]


@dataclass(frozen=True)
class Retriever:
    """An index that is searched: its name among the retrievers, how hard to look, how many
    documents it gives each query in the end, by which feedback, guidance and correction, if any,
    for how many tokens a query keeps a vector, if it has token vectors, and how many documents a
    query may pass over, of which as many more are looked for."""

    name: str
    index: Index
    how: Effort
    k: int
    feedback: Feedback | None = None
    guidance: Guidance | None = None
    correction: Correction | None = None
    query_pool: float = 1.0
    passed_over: int = 0


SEARCH = Stage("search", SearchSpec, Searched)


def search(
    context: Context,
    index: Workspace,
    version: Version,
    queries: Sequence[FileRef],
    retriever: Retriever,
    stage: str = SEARCH.name,
) -> list[Done[Searched]]:
    """The hits of all queries, whose vectors lie in a file a block; a unit a shard."""
    specs = plan_search(version, queries, retriever)
    column, memory = retriever.index.scored, context.settings.search.memory_mb << 20
    pool = context.search_pool(len(specs), dense=version.dim(column) > 0)
    asked = components_of(version.columns[column].card)
    batch = SearchBatch(queries, asked, memory, pool.device)
    make = partial(Search, context.workspace, index, batch)
    named = replace(SEARCH, name=stage).of(retriever.name)
    return run_stage(context, named, specs, [Step(make, pool)])


def plan_search(
    version: Version, queries: Sequence[FileRef], retriever: Retriever
) -> list[SearchSpec]:
    """Of each shard."""
    index, how = retriever.index, retriever.how
    coded = CodedColumn(index.column, index.codec.file) if index.source and index.codec else None
    shards = searched_shards(version.parts, index.scored, index.shards, how.k, coded)
    if index.plan.kind in TOKEN_KINDS:
        shards = [replace(shard, codec=version.columns[index.column].codec) for shard in shards]
    return [SearchSpec(index.plan.kind, shard, tuple(queries), how) for shard in shards]


@dataclass(frozen=True)
class SearchBatch:
    """The queries of a run.

    Attributes:
        files: their vectors, a file a block.
        dim: components of a query's vector, or of all its token vectors; 0: they are sparse.
        memory: bytes for the queries that are searched at once.
        device: torch's name of what they are searched on.
    """

    files: Sequence[FileRef]
    dim: int
    memory: int
    device: str


class Search:
    """A shard → the best documents of every query in it, one file a query block."""

    def __init__(self, workspace: Workspace, index: Workspace, batch: SearchBatch) -> None:
        self._workspace = workspace
        self._index = index
        self._batch = batch
        self._held: tuple[Sequence[int], Any] | None = None

    def __call__(self, unit: Unit[SearchSpec], tables: Tables) -> Result[Searched]:
        rows = [ref.rows for ref in self._batch.files]
        opened = self._open(unit.spec)
        files: list[FileRef] = []
        for group in fill(rows, opened.at_once):
            files += self._search(unit, opened, group)
        hits = sum(ref.rows for ref in files)
        return Result(Searched(tuple(files)), {"rows": sum(rows), "hits": hits})

    def _open(self, spec: SearchSpec) -> Opened:
        batch = self._batch
        opening = Opening(self._index, spec.shard, spec.how, batch.dim, batch.memory, batch.device)
        return open_kind(spec.kind, opening)

    def _search(self, unit: Unit[SearchSpec], shard: Opened, group: Sequence[int]) -> list[FileRef]:
        """The files of the blocks of one group, whose hits are in memory together."""
        starts = list(accumulate((self._batch.files[n].rows for n in group), initial=0))
        blocks = shard.hits(self._vectors(shard, group), starts)
        return [
            self._workspace.write_scratch(unit, f"{n:05d}.parquet", hits)
            for n, hits in zip(group, blocks, strict=True)
        ]

    def _vectors(self, shard: Opened, group: Sequence[int]) -> Any:
        """Those of these blocks; they are kept, so those of an only group are read once."""
        if self._held is None or self._held[0] != group:
            self._held = None  # lets go of the last group's
            files = [self._batch.files[number] for number in group]
            self._held = (group, shard.read(self._workspace, files))
        return self._held[1]
