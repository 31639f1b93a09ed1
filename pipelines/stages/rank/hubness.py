"""Hubs: the hits of a retriever, each lowered by how near its passage is to every query.

The bank of queries is the batch itself; that of passages is drawn from the version. So no column
grows stale, and nothing is made for it at night. hits-NAME merges, gallery-NAME draws, hubs-NAME
sweeps over the parts, corrected-NAME rescores by query block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.hubness import Correction, hubness
from shardrank.core.topk import rescored
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.rank.block_scores import places
from shardrank.stages.rank.feedback import Round
from shardrank.stages.rank.merge import MERGE, FoundBy, Merging, merge
from shardrank.stages.rank.search import Retriever, Searched
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_values import (
    BlockHits,
    BlockValues,
    Reading,
    Values,
    ValuesSpec,
    plan_values,
    read_pairs,
    values_by_block,
)
from shardrank.stages.shared.sample import Draw, sample
from shardrank.version.sizing import bucket_parts

#: Queries in the bank, at most, and files that they are read from: evenly over the batch.
BANK, BANK_FILES = 4096, 16


@dataclass(frozen=True)
class HubsSpec:
    """A run of parts and its pairs, and the files of the banks' vectors."""

    pairs: ValuesSpec
    queries: tuple[FileRef, ...]
    gallery: tuple[FileRef, ...]
    how: Correction


@dataclass(frozen=True)
class CorrectedSpec:
    """A block's hits, and the hubness of their passages: query, part, row, hubness."""

    hits: FileRef
    hubs: tuple[FileRef, ...]


HITS = replace(MERGE, name="hits")
HUBS = Stage("hubs", HubsSpec, Values)
CORRECTED = Stage("corrected", CorrectedSpec, Searched)


def corrected(
    context: Context, asked: Round, retriever: Retriever, found: FoundBy, how: Correction
) -> FoundBy:
    """What a retriever found, as its corrected scores order it; its documents stay the same."""
    name, ignored = retriever.name, context.settings.search.ignore_same_id
    bucket = bucket_parts(len(asked.version.parts), found.k * asked.blocks[0].queries.rows)
    k = found.k + ignored
    merging = Merging(k, False, None, bucket, HITS.of(name))
    merged = merge(context, [replace(found, k=k)], asked.blocks, merging)
    hits = [BlockHits(done.made.buckets, done.made.pairs) for done in merged]
    reading = Reading(asked.version, asked.index, retriever.index.scored, bucket)
    hubs = _hubs(context, asked, retriever, plan_values(reading, hits), how)
    both = zip(merged, values_by_block(hubs, len(hits)), strict=True)
    specs = [CorrectedSpec(done.made.hits, files) for done, files in both]
    stage = CORRECTED.of(name)
    dones = run_stage(context, stage, specs, [Step(partial(Correct, context.workspace))])
    files = tuple(file for done in dones for file in done.made.hits)
    return FoundBy([Done(stage.name, Searched(files))], found.k)


def _hubs(
    context: Context,
    asked: Round,
    retriever: Retriever,
    pairs: Sequence[ValuesSpec],
    how: Correction,
) -> list[Done[Values]]:
    name, column = retriever.name, retriever.index.scored
    drawn = Draw("gallery", column, how.gallery, seed=0, name=name)
    gallery = sample(context, asked.version.parts, drawn, asked.index) if how.gallery else []
    queries = tuple(asked.queries[:: -(-len(asked.queries) // BANK_FILES)])
    specs = [HubsSpec(each, queries, tuple(gallery), how) for each in pairs]
    step = Step(partial(FindHubs, context.workspace, asked.index))
    return run_stage(context, HUBS.of(name), specs, [step])


class FindHubs:
    """A run of parts → the hubness of the passages in the blocks' pairs."""

    def __init__(self, workspace: Workspace, index: Workspace) -> None:
        self._workspace, self._index = workspace, index
        self._held: tuple[tuple[FileRef, ...], list[Float32]] | None = None

    def __call__(self, unit: Unit[HubsSpec], tables: Tables) -> Result[Values]:
        spec = unit.spec
        banks = self._banks(spec)
        pairs = {b.block: read_pairs(self._workspace, spec.pairs, b) for b in spec.pairs.blocks}
        found: dict[int, list[pa.Table]] = {number: [] for number in pairs}
        for part in spec.pairs.parts:
            mine = {n: _in_part(table, part.ordinal) for n, table in pairs.items()}
            rows = np.unique(np.concatenate([t["row"].to_numpy() for t in mine.values()]))
            vectors = matrix(self._index.read_table(part.values)["vector"])[rows]
            hubs = hubness(vectors, banks, spec.how.beta)
            for number, table in mine.items():
                its = hubs[np.searchsorted(rows, table["row"].to_numpy())]
                found[number].append(table.append_column("hubness", pa.array(its)))
        made = [self._written(unit, number, pieces) for number, pieces in found.items()]
        return Result(Values(tuple(made)), {"rows": sum(each.values.rows for each in made)})

    def _banks(self, spec: HubsSpec) -> list[Float32]:
        """Those of the last unit serve again."""
        files = (*spec.queries, *spec.gallery)
        if self._held is None or self._held[0] != files:
            queries = self._vectors(spec.queries)
            banks = [queries[:: -(-len(queries) // BANK)]]
            if spec.gallery:
                banks.append(self._vectors(spec.gallery))
            self._held = (files, banks)
        return self._held[1]

    def _vectors(self, refs: Sequence[FileRef]) -> Float32:
        tables = (self._workspace.read_table(ref, ["vector"]) for ref in refs)
        return np.concatenate([matrix(table["vector"]) for table in tables])

    def _written(self, unit: Unit[HubsSpec], number: int, pieces: list[pa.Table]) -> BlockValues:
        name, table = f"hubs-{number:05d}.parquet", pa.concat_tables(pieces)
        return BlockValues(number, self._workspace.write_scratch(unit, name, table))


@dataclass(frozen=True)
class Correct:
    """A block's hits → the same ones with corrected scores, in their order."""

    workspace: Workspace

    def __call__(self, unit: Unit[CorrectedSpec], tables: Tables) -> Result[Searched]:
        hits = self.workspace.read_table(unit.spec.hits)
        hubs = np.zeros(hits.num_rows, np.float32)
        at = {key: row for row, key in enumerate(places(hits))}
        for ref in unit.spec.hubs:
            table = self.workspace.read_table(ref)
            hubs[[at[key] for key in places(table)]] = table["hubness"].to_numpy()
        hits = rescored(hits, hits["score"].to_numpy() - hubs)
        ref = self.workspace.write_scratch(unit, "hits.parquet", hits)
        return Result(Searched((ref,)), {"rows": hits.num_rows})


def _in_part(table: pa.Table, ordinal: int) -> pa.Table:
    return table.filter(pa.array(table["part"].to_numpy() == ordinal))
