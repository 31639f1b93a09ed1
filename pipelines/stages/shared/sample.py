"""sample: a uniform draw of stored vectors over all parts, for training and for the audit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import vector_column
from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartColumn, load_block
from shardrank.version.parts import Part
from shardrank.version.sampling import allocate, draw
from shardrank.version.sizing import SAMPLED_PARTS_PER_UNIT


@dataclass(frozen=True)
class Draw:
    """What a sample is for (it names the stage), of which column, how many rows, the seed, and by
    what name it is told from others of the stage; default: the column's."""

    stage: str
    column: str
    rows: int
    seed: int
    name: str | None = None


@dataclass(frozen=True)
class DrawnPart:
    """A part, and how many of its rows are drawn."""

    part: PartColumn
    count: int


@dataclass(frozen=True)
class SampleSpec:
    """Parts that give rows to a sample, and the seed."""

    parts: tuple[DrawnPart, ...]
    seed: int


@dataclass(frozen=True)
class Sampled:
    """The file of part, row, passage and vector."""

    sample: FileRef


def sample(
    context: Context, parts: Sequence[Part], wanted: Draw, index: Workspace | None = None
) -> list[FileRef]:
    """Files of part, row, passage and vector of the drawn rows, which are live ones.

    `index` is where the parts lie, if not in the workspace that the files go to.
    """
    stage = Stage(wanted.stage, SampleSpec, Sampled).of(wanted.name or wanted.column)
    make = partial(Sample, context.workspace, index or context.workspace)
    dones = run_stage(context, stage, plan_sample(parts, wanted), [Step(make)])
    return [done.made.sample for done in dones]


def plan_sample(parts: Sequence[Part], wanted: Draw) -> list[SampleSpec]:
    """One unit for every SAMPLED_PARTS_PER_UNIT parts that give rows to the sample."""
    counts = allocate([part.live.passages for part in parts], wanted.rows, wanted.seed)
    drawn = [
        DrawnPart(PartColumn.of(n, part, wanted.column), count)
        for n, (part, count) in enumerate(zip(parts, counts, strict=True))
        if count
    ]
    groups = math.ceil(len(drawn) / SAMPLED_PARTS_PER_UNIT)
    return [SampleSpec(tuple(drawn[i::groups]), wanted.seed) for i in range(groups)]


@dataclass(frozen=True)
class Sample:
    """Parts → their share of the sample."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[SampleSpec], tables: Tables) -> Result[Sampled]:
        table = pa.concat_tables([self._draw(drawn, unit.spec.seed) for drawn in unit.spec.parts])
        ref = self.workspace.write_scratch(unit, "sample.parquet", table)
        return Result(Sampled(ref), {"rows": table.num_rows})

    def _draw(self, drawn: DrawnPart, seed: int) -> pa.Table:
        part, block = drawn.part, load_block(self.index, drawn.part)
        live = np.flatnonzero(block.live)
        rows = live[draw(part.id, len(live), drawn.count, seed)]
        vectors = np.ascontiguousarray(block.vectors[rows], dtype=np.float32)
        return pa.table(
            {
                "part": pa.array(np.full(len(rows), part.ordinal, dtype=np.int32)),
                "row": pa.array(rows.astype(np.int32)),
                "passage": pa.array(block.passages[rows]),
                "vector": vector_column(vectors),
            }
        )


def read_sample(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Table:
    """All drawn rows, by part and row, so that their order does not depend on the units."""
    table = pa.concat_tables([workspace.read_table(ref) for ref in refs])
    return table.sort_by([("part", "ascending"), ("row", "ascending")]).combine_chunks()
