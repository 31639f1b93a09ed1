"""Feedback: a retriever's first round, by whose documents the queries are moved for the second.

first-NAME searches and first-merge-NAME merges a few documents of each query; values-NAME gathers
their vectors by one sweep over the parts; feedback-NAME writes the queries' vectors for the search.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.feedback import Feedback, towards, with_terms
from shardrank.core.files import FileRef
from shardrank.core.sparse import SparseRows
from shardrank.core.units import Stage, Unit
from shardrank.stages.rank.encode_further import weighted
from shardrank.stages.rank.merge import FoundBy, Merging, merge
from shardrank.stages.rank.search import Retriever, search
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_values import BlockHits, Reading, gather_values, read_values
from shardrank.stages.shared.encode import QueryBlock
from shardrank.version.indexes import TermCounts
from shardrank.version.manifest import Version
from shardrank.version.sizing import bucket_parts


@dataclass(frozen=True)
class FeedbackSpec:
    """A block's query vectors, those of its first documents, how they are put together, and what
    words are weighted by."""

    queries: FileRef
    values: tuple[FileRef, ...]
    how: Feedback
    counts: TermCounts | None


@dataclass(frozen=True)
class Moved:
    """The vectors of a block of queries, row by row."""

    vectors: FileRef


FEEDBACK = Stage("feedback", FeedbackSpec, Moved)


@dataclass(frozen=True)
class Round:
    """What is searched for: the index's workspace and version, the query blocks, and their vectors,
    a file a block."""

    index: Workspace
    version: Version
    blocks: Sequence[QueryBlock]
    queries: Sequence[FileRef]


def moved(context: Context, first: Round, retriever: Retriever, how: Feedback) -> list[FileRef]:
    """The queries' vectors for the second round."""
    name, documents = retriever.name, how.documents
    ignored = context.settings.search.ignore_same_id
    found = first_round(context, first, retriever, documents)
    bucket = bucket_parts(len(first.version.parts), documents * first.blocks[0].queries.rows)
    merging = Merging(documents, ignored, None, bucket, f"first-merge-{name}")
    hits = [
        BlockHits(done.made.buckets, done.made.pairs)
        for done in merge(context, [found], first.blocks, merging)
    ]
    reading = Reading(first.version, first.index, retriever.index.scored, bucket)
    values = gather_values(context, f"values-{name}", reading, hits)
    both = zip(first.queries, values, strict=True)
    specs = [FeedbackSpec(ref, files, how, retriever.index.counts) for ref, files in both]
    stage = replace(FEEDBACK, name=f"feedback-{name}")
    step = Step(partial(MoveQueries, context.workspace, first.index))
    return [done.made.vectors for done in run_stage(context, stage, specs, [step])]


def first_round(context: Context, first: Round, retriever: Retriever, documents: int) -> FoundBy:
    """The first documents that a retriever finds for the queries as they were asked."""
    k = documents + retriever.passed_over
    depth = retriever.how.depth
    how = replace(retriever.how, k=k, depth=max(depth, k) if depth else 0)
    few = replace(retriever, how=how, k=documents)
    searched = search(context, first.index, first.version, first.queries, few, "first")
    return FoundBy(searched, documents)


@dataclass(frozen=True)
class MoveQueries:
    """A block's vectors and those of its first documents → its vectors for the second round."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[FeedbackSpec], tables: Tables) -> Result[Moved]:
        queries = self.workspace.read_table(unit.spec.queries)["vector"]
        values = read_values(self.workspace, unit.spec.values)
        column = self._column(unit.spec, queries, values) if values else queries
        table = pa.table({"vector": column})
        ref = self.workspace.write_scratch(unit, "vectors.parquet", table)
        return Result(Moved(ref), {"rows": table.num_rows})

    def _column(self, spec: FeedbackSpec, queries: pa.ChunkedArray, values: pa.Table) -> pa.Array:
        how, query, found = spec.how, values["query"].to_numpy(), values["vector"]
        if pa.types.is_fixed_size_list(queries.type):
            new = towards(matrix(queries), query, matrix(found), how.alpha, how.beta)
            return vector_column(new)
        if spec.counts:
            found = pa.chunked_array([weighted(self.index, found, spec.counts)])
        rows, documents = SparseRows.of(queries), SparseRows.of(found)
        more = with_terms(rows, query, documents, how.alpha, how.beta, how.terms)
        return more.array(pa.uint64(), pa.float32())
