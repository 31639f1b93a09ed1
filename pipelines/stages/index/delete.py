"""delete: removed documents become bits in the bitmaps of their parts, 64 parts a unit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.corpus.part_keys import count
from shardrank.stages.index.compare import GROUP, Compared, rows_of
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartKeys, read_bitmap
from shardrank.stages.shared.part_files import write_bitmap
from shardrank.version.liveness import mark
from shardrank.version.parts import Counts, Part


@dataclass(frozen=True)
class DeleteSpec:
    """A group of parts, the files of what is removed from them, and of what is not (doc_id)."""

    parts: tuple[PartKeys, ...]
    removed: tuple[FileRef, ...]
    spared: tuple[FileRef, ...]


@dataclass(frozen=True)
class Loss:
    """What a part loses: its new bitmap, and how much is gone by it."""

    ordinal: int
    deleted: FileRef
    gone: Counts


@dataclass(frozen=True)
class Deleted:
    """The parts of a group that lose documents."""

    losses: tuple[Loss, ...]


DELETE = Stage("delete", DeleteSpec, Deleted)


def delete(
    context: Context, parts: Sequence[Part], compared: Compared, spared: Sequence[FileRef]
) -> list[Part]:
    """The index's parts without what the comparison removed; their files stay as they are.

    `spared` are tables with a column doc_id: of those documents the stored form stays.
    """
    specs = plan_delete(parts, compared, spared)
    dones = run_stage(context, DELETE, specs, [Step(partial(Delete, context.workspace))])
    left = list(parts)
    for loss in (loss for done in dones for loss in done.made.losses):
        part = left[loss.ordinal]
        left[loss.ordinal] = replace(part, deleted=loss.deleted, live=part.live - loss.gone)
    return left


def plan_delete(
    parts: Sequence[Part], compared: Compared, spared: Sequence[FileRef]
) -> list[DeleteSpec]:
    """Of each group of parts that lose documents."""
    keys = [PartKeys.of(ordinal, part) for ordinal, part in enumerate(parts)]
    groups = (keys[begin : begin + GROUP] for begin in range(0, len(keys), GROUP))
    return [
        DeleteSpec(tuple(group), tuple(removed), tuple(spared))
        for number, group in enumerate(groups)
        if (removed := compared.removed_of(number))
    ]


@dataclass(frozen=True)
class Delete:
    """A group of parts → new bitmaps of those that lose documents, and how much they lose."""

    workspace: Workspace

    def __call__(self, unit: Unit[DeleteSpec], tables: Tables) -> Result[Deleted]:
        spared = read_ids(self.workspace, unit.spec.spared)
        losses = []
        for part in unit.spec.parts:
            gone = rows_of(self.workspace, unit.spec.removed, "part", part.ordinal)
            gone = gone.filter(pc.invert(pc.is_in(gone["doc_id"], value_set=spared)))
            if gone.num_rows:
                losses.append(Loss(part.ordinal, self._mark(part, gone), count(gone)))
        rows = sum(loss.gone.passages for loss in losses)
        return Result(Deleted(tuple(losses)), {"rows": rows})

    def _mark(self, part: PartKeys, gone: pa.Table) -> FileRef:
        before = read_bitmap(self.workspace, part.deleted, part.rows)
        starts, counts = (gone[name].to_numpy().astype(np.int64) for name in ("row", "rows"))
        return write_bitmap(self.workspace, mark(before, starts, counts))


def read_ids(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Array:
    """The column doc_id of some tables."""
    chunks = [c for ref in refs for c in workspace.read_table(ref, ["doc_id"])["doc_id"].chunks]
    return pa.concat_arrays(chunks or [pa.array([], pa.string())])
