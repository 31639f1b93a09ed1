"""What a column holds of hits, gathered by one sweep over the parts and written by query block; no
part is read once a query."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.units import Done, Stage, Unit
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.pairs_by_part import (
    PairFile,
    PartPairs,
    count_pairs,
    files_of,
    group_parts,
)
from shardrank.version.manifest import Version


@dataclass(frozen=True)
class PartValues:
    """A part, by its place in the version, and the file of the column."""

    ordinal: int
    values: FileRef


@dataclass(frozen=True)
class BlockPairFiles:
    """A block by its number, and files that hold its pairs: query, part, row, rank."""

    block: int
    pairs: tuple[FileRef, ...]


@dataclass(frozen=True)
class ValuesSpec:
    """A run of parts, and the blocks that have pairs in them."""

    parts: tuple[PartValues, ...]
    blocks: tuple[BlockPairFiles, ...]


@dataclass(frozen=True)
class BlockValues:
    """A block's pairs in some parts: query, part, row, rank, and the column's vector."""

    block: int
    values: FileRef


@dataclass(frozen=True)
class Values:
    """A file for each block that has pairs here."""

    blocks: tuple[BlockValues, ...]


@dataclass(frozen=True)
class BlockHits:
    """A block's pairs by the parts that they lie in, and how many lie in each."""

    buckets: Sequence[PairFile]
    pairs: Sequence[PartPairs]


@dataclass(frozen=True)
class Reading:
    """Of which version a column is read, where it lies, and parts whose pairs share a file."""

    version: Version
    index: Workspace
    column: str
    bucket_parts: int


def gather_values(
    context: Context,
    stage: Stage[ValuesSpec, Values],
    reading: Reading,
    blocks: Sequence[BlockHits],
) -> list[tuple[FileRef, ...]]:
    """Of each block the files of its pairs' values."""
    make = partial(GatherValues, context.workspace, reading.index)
    specs = plan_values(reading, blocks)
    dones = run_stage(context, stage, specs, [Step(make)])
    return values_by_block(dones, len(blocks))


def values_by_block(dones: Sequence[Done[Values]], blocks: int) -> list[tuple[FileRef, ...]]:
    """Of each of so many blocks, its files."""
    found: list[list[FileRef]] = [[] for _ in range(blocks)]
    for each in (each for done in dones for each in done.made.blocks):
        found[each.block].append(each.values)
    return [tuple(files) for files in found]


VALUES = Stage("values", ValuesSpec, Values)


def plan_values(reading: Reading, blocks: Sequence[BlockHits]) -> list[ValuesSpec]:
    """Of each run of parts."""
    parts = reading.version.parts
    return [
        ValuesSpec(
            tuple(PartValues(n, parts[n].columns[reading.column].file) for n in group),
            tuple(_in(blocks, group, reading.bucket_parts)),
        )
        for group in group_parts(count_pairs(block.pairs for block in blocks))
    ]


def _in(blocks: Sequence[BlockHits], group: Sequence[int], bucket: int) -> Iterable[BlockPairFiles]:
    """The blocks that have pairs in these parts."""
    for number, block in enumerate(blocks):
        if not {each.part for each in block.pairs}.isdisjoint(group):
            yield BlockPairFiles(number, files_of(block.buckets, group, bucket))


@dataclass(frozen=True)
class GatherValues:
    """A run of parts → the blocks' pairs in them, with the column's values."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[ValuesSpec], tables: Tables) -> Result[Values]:
        spec = unit.spec
        pairs = {block.block: read_pairs(self.workspace, spec, block) for block in spec.blocks}
        found: dict[int, list[pa.Table]] = {number: [] for number in pairs}
        for part in spec.parts:
            values = self.index.read_table(part.values, ["vector"])["vector"]
            for number, table in pairs.items():
                mine = table.filter(pc.equal(table["part"], part.ordinal))
                found[number].append(mine.append_column("vector", values.take(mine["row"])))
        made = [self._written(unit, number, pieces) for number, pieces in found.items()]
        return Result(Values(tuple(made)), {"rows": sum(each.values.rows for each in made)})

    def _written(self, unit: Unit[ValuesSpec], number: int, pieces: list[pa.Table]) -> BlockValues:
        name = f"values-{number:05d}.parquet"
        return BlockValues(
            number, self.workspace.write_scratch(unit, name, pa.concat_tables(pieces))
        )


def read_pairs(workspace: Workspace, spec: ValuesSpec, block: BlockPairFiles) -> pa.Table:
    """A block's pairs in the parts: query, part, row, rank."""
    parts = pa.array([part.ordinal for part in spec.parts], pa.int32())
    pairs = pa.concat_tables([workspace.read_table(ref) for ref in block.pairs])
    pairs = pairs.select(["query", "part", "row", "rank"])
    return pairs.filter(pc.is_in(pairs["part"], value_set=parts))


def read_values(workspace: Workspace, files: Sequence[FileRef]) -> pa.Table | None:
    """A block's values in the order of queries and ranks; None where it has no pairs."""
    if not files:
        return None
    table = pa.concat_tables([workspace.read_table(ref) for ref in files])
    return table.sort_by([("query", "ascending"), ("rank", "ascending")])
