"""Documents by all of their passages: those that a retriever found, by their best ones, are scored
anew by the fold of all passages that they have.

A document's passages are neighbours in one part, so one sweep over the parts scores them, and what
a document scores depends neither on what else was found nor on shards and blocks. found-NAME
merges, passages-NAME sweeps over the parts, folded-NAME orders by query block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int64
from shardrank.core.files import FileRef
from shardrank.core.folds import Fold
from shardrank.core.passage_scores import PassageScores, refolded, with_passages
from shardrank.core.progress import tell
from shardrank.core.schemas import HITS
from shardrank.core.units import Done, Stage, Unit
from shardrank.index.bm25 import Bm25
from shardrank.stages.rank.block_scores import places
from shardrank.stages.rank.feedback import Round
from shardrank.stages.rank.merge import MERGE, FoundBy, Merging, merge
from shardrank.stages.rank.search import Retriever, Searched
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import read_codec
from shardrank.stages.shared.column_values import (
    BlockHits,
    BlockPairFiles,
    BlockValues,
    Reading,
    Values,
    ValuesSpec,
    plan_values,
    read_pairs,
    values_by_block,
)
from shardrank.version.sizing import TOKEN_KINDS, bucket_parts

if TYPE_CHECKING:
    from shardrank.index.column_scores import ScorePairs

#: Passages that are scored at once, about.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class PassagesSpec:
    """A run of parts and its pairs; the keys of each part; the values of each block's queries that
    has pairs here; and what scores a pair, beside both values."""

    pairs: ValuesSpec
    keys: tuple[FileRef, ...]
    queries: tuple[FileRef, ...]
    codec: FileRef | None
    bm25: Bm25 | None


@dataclass(frozen=True)
class FoldedSpec:
    """A block's hits, the scores of their documents' passages, and how these become one."""

    hits: FileRef
    passages: tuple[FileRef, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Folded:
    """A block's hits in the order of their documents' scores (HITS), and, row by row of them, what
    else a fold may be made of: `best`, the scores of its first passages, and `mean`, of all."""

    hits: FileRef
    passages: FileRef


FOUND = replace(MERGE, name="found")
PASSAGES = Stage("passages", PassagesSpec, Values)
FOLDED = Stage("folded", FoldedSpec, Folded)


def folded(
    context: Context, asked: Round, retriever: Retriever, found: FoundBy, how: Fold
) -> FoundBy:
    """What a retriever found, each document by the fold of its passages."""
    name, k = retriever.name, how.documents + context.settings.search.ignore_same_id
    bucket = bucket_parts(len(asked.version.parts), k * asked.blocks[0].queries.rows)
    merging = Merging(k, False, None, bucket, stage=FOUND.of(name))
    merged = merge(context, [replace(found, k=k)], asked.blocks, merging)
    hits = [BlockHits(done.made.buckets, done.made.pairs) for done in merged]
    specs = _plan(asked, retriever, hits, bucket)
    step = Step(partial(ScorePassages, context.workspace, asked.index))
    scored = run_stage(context, PASSAGES.of(name), specs, [step])
    both = zip(merged, values_by_block(scored, len(hits)), strict=True)
    ordered = [FoldedSpec(done.made.hits, files, how.weights) for done, files in both]
    stage = FOLDED.of(name)
    dones = run_stage(context, stage, ordered, [Step(partial(FoldDocuments, context.workspace))])
    searched = Searched(tuple(done.made.hits for done in dones))
    passages = tuple(done.made.passages for done in dones)
    return FoundBy([Done(stage.name, searched)], found.k, passages)


def _plan(
    asked: Round, retriever: Retriever, hits: Sequence[BlockHits], bucket: int
) -> list[PassagesSpec]:
    version, index = asked.version, retriever.index
    coded = index.plan.kind in TOKEN_KINDS
    return [
        PassagesSpec(
            pairs=pairs,
            keys=tuple(version.parts[part.ordinal].keys for part in pairs.parts),
            queries=tuple(asked.queries[block.block] for block in pairs.blocks),
            codec=version.columns[index.column].codec if coded else None,
            bm25=retriever.how.bm25,
        )
        for pairs in plan_values(Reading(version, asked.index, index.scored, bucket), hits)
    ]


@dataclass(frozen=True)
class ScorePassages:
    """A run of parts → of each of the blocks' pairs in them the scores of all passages of its
    document: query, part, row, and `best` and `mean` as `Folded` has them."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[PassagesSpec], tables: Tables) -> Result[Values]:
        spec = unit.spec
        pairs = [read_pairs(self.workspace, spec.pairs, block) for block in spec.pairs.blocks]
        queries = [self.workspace.read_table(ref, ["vector"])["vector"] for ref in spec.queries]
        found: list[list[pa.Table]] = [[] for _ in pairs]
        for number, part in enumerate(self._parts(spec), 1):
            for table, asked, mine in zip(pairs, queries, found, strict=True):
                mine += part.scored(asked, table)
            tell(number / len(spec.keys))
        made = [self._written(unit, *each) for each in zip(spec.pairs.blocks, found, strict=True)]
        return Result(Values(tuple(made)), {"rows": sum(each.values.rows for each in made)})

    def _parts(self, spec: PassagesSpec) -> Iterator["_OpenPart"]:
        from shardrank.index.column_scores import ColumnRule, score_column  # brings numba

        rule = ColumnRule(read_codec(self.index, spec.codec), spec.bm25)
        for part, keys in zip(spec.pairs.parts, spec.keys, strict=True):
            values = self.index.read_table(part.values, ["vector"])["vector"]
            table = self.index.read_table(keys, ["row", "rows"]).sort_by("row")
            first, rows = (table[name].to_numpy().astype(np.int64) for name in ("row", "rows"))
            yield _OpenPart(part.ordinal, first, rows, score_column(values, rule))

    def _written(
        self, unit: Unit[PassagesSpec], block: BlockPairFiles, pieces: list[pa.Table]
    ) -> BlockValues:
        name = f"passages-{block.block:05d}.parquet"
        ref = self.workspace.write_scratch(unit, name, pa.concat_tables(pieces))
        return BlockValues(block.block, ref)


@dataclass(frozen=True, eq=False)
class _OpenPart:
    """A part by its ordinal; of its documents the first row, int64[d], and how many rows they have,
    int64[d]; and what scores pairs with its rows."""

    ordinal: int
    first: Int64
    rows: Int64
    score: "ScorePairs"

    def scored(self, queries: pa.ChunkedArray, pairs: pa.Table) -> Iterator[pa.Table]:
        """Of the pairs that lie here, so many at a time."""
        mine = pairs.filter(pc.equal(pairs["part"], self.ordinal)).select(["query", "part", "row"])
        document = np.searchsorted(self.first, mine["row"].to_numpy(), side="right") - 1
        piece = np.cumsum(self.rows[document]) // _AT_ONCE
        for number in np.unique(piece):
            some = np.flatnonzero(piece == number)
            yield self._scored(queries, mine.take(pa.array(some)), document[some])

    def _scored(self, queries: pa.ChunkedArray, pairs: pa.Table, documents: Int64) -> pa.Table:
        sizes = self.rows[documents]
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        rows = np.arange(ends[-1]) + np.repeat(self.first[documents] - ends[:-1], sizes)
        query = np.repeat(pairs["query"].to_numpy(), sizes)
        scores = self.score(queries, query, rows)
        known = ~np.isnan(scores)  # a passage without tokens has none
        ends = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])[ends]
        return with_passages(pairs, PassageScores.of(scores[known], ends))


@dataclass(frozen=True)
class FoldDocuments:
    """A block's hits and the scores of their documents' passages → the hits in their new order."""

    workspace: Workspace

    def __call__(self, unit: Unit[FoldedSpec], tables: Tables) -> Result[Folded]:
        hits = self._with_passages(unit.spec)
        hits = refolded(hits, unit.spec.weights)
        passages = self.workspace.write_scratch(unit, "passages.parquet", hits)
        ref = self.workspace.write_scratch(unit, "hits.parquet", hits.select(HITS.names))
        return Result(Folded(ref, passages), {"rows": hits.num_rows})

    def _with_passages(self, spec: FoldedSpec) -> pa.Table:
        """HITS and, row by row, `best` and `mean`."""
        hits = self.workspace.read_table(spec.hits)
        if not spec.passages:
            return with_passages(hits, PassageScores.none())
        table = pa.concat_tables([self.workspace.read_table(ref) for ref in spec.passages])
        at = {key: row for row, key in enumerate(places(table))}
        rows = pa.array([at[key] for key in places(hits)], pa.int64())
        for name in ("best", "mean"):
            hits = hits.append_column(name, table[name].take(rows))
        return hits
