"""draw: a sample of what is read of live passages, texts or a column, to learn of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.read_values import Read, read_values
from shardrank.version.parts import Part
from shardrank.version.sampling import allocate, draw
from shardrank.version.sizing import SAMPLED_PARTS_PER_UNIT

#: Of the draw. What is learnt is kept as long as what it is learnt for, so there is nothing to
#: vary; and two draws of as many rows are of the same passages.
_SEED = 0


@dataclass(frozen=True)
class DrawnRead:
    """A part's name, what is read of it, and how many of its live rows are drawn."""

    id: str
    read: Read
    count: int


@dataclass(frozen=True)
class DrawSpec:
    """Parts that give rows to a sample."""

    parts: tuple[DrawnRead, ...]


@dataclass(frozen=True)
class Drawn:
    """The file of the rows: part and row, where they stand, and what was read."""

    sample: FileRef


DRAW = Stage("draw", DrawSpec, Drawn)


@dataclass(frozen=True)
class Drawing:
    """The stage, what is read of a part, and how many rows."""

    stage: Stage[DrawSpec, Drawn]
    reads: Callable[[Part], Read]
    rows: int


def draw_rows(context: Context, parts: Sequence[Part], wanted: Drawing) -> tuple[FileRef, ...]:
    """Files of the drawn rows."""
    specs = plan_draw(parts, wanted)
    dones = run_stage(context, wanted.stage, specs, [Step(partial(DrawRows, context.workspace))])
    return tuple(done.made.sample for done in dones)


def plan_draw(parts: Sequence[Part], wanted: Drawing) -> list[DrawSpec]:
    """One unit for every SAMPLED_PARTS_PER_UNIT parts that give rows to the sample."""
    counts = allocate([part.live.passages for part in parts], wanted.rows, _SEED)
    drawn = [
        DrawnRead(part.id, wanted.reads(part), count)
        for part, count in zip(parts, counts, strict=True)
        if count
    ]
    groups = math.ceil(len(drawn) / SAMPLED_PARTS_PER_UNIT)
    return [DrawSpec(tuple(drawn[i::groups])) for i in range(groups)]


@dataclass(frozen=True)
class DrawRows:
    """Parts → their share of the sample."""

    workspace: Workspace

    def __call__(self, unit: Unit[DrawSpec], tables: Tables) -> Result[Drawn]:
        table = pa.concat_tables([self._rows(part) for part in unit.spec.parts])
        ref = self.workspace.write_scratch(unit, "sample.parquet", table)
        return Result(Drawn(ref), {"rows": table.num_rows})

    def _rows(self, drawn: DrawnRead) -> pa.Table:
        dead = read_bitmap(self.workspace, drawn.read.deleted, drawn.read.rows)
        live = np.flatnonzero(~dead)
        rows = live[draw(drawn.id, len(live), drawn.count, _SEED)]
        values = read_values(self.workspace, drawn.read).take(pa.array(rows))
        return pa.table({"part": [drawn.id] * len(rows), "row": rows, "read": values})


def read_drawn(workspace: Workspace, files: Sequence[FileRef]) -> pa.Array:
    """What was read, in the order of `drawn_rows`."""
    return pa.concat_arrays(drawn_rows(workspace, files)["read"].chunks)


def drawn_rows(workspace: Workspace, files: Sequence[FileRef]) -> pa.Table:
    """Part, row, and what was read, by part and row, so that the order does not depend on the
    units."""
    table = pa.concat_tables([workspace.read_table(ref) for ref in files])
    order = np.lexsort([table["row"].to_numpy(), table["part"].to_numpy(zero_copy_only=False)])
    return table.take(pa.array(order))


def same_rows(drawn: pa.Table, other: pa.Table) -> pa.Table:
    """Of the drawn rows those that another drawing has, too."""
    held = pc.is_in(_places(drawn), value_set=_places(other).combine_chunks())
    return drawn.filter(held)


def _places(drawn: pa.Table) -> pa.ChunkedArray:
    """A string for each row's part and place."""
    return pc.binary_join_element_wise(drawn["part"], pc.cast(drawn["row"], pa.string()), " ")
