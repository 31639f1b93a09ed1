"""compact: groups of parts become one part each, from what is stored; nothing is embedded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import new_part, write_part
from shardrank.version.manifest import DENSE, Part


@dataclass(frozen=True)
class StoredPart:
    """A part as it is rewritten; `live` counts its documents."""

    passages: FileRef
    vectors: FileRef
    deleted: FileRef | None
    live: int

    @classmethod
    def of(cls, part: Part) -> "StoredPart":
        return cls(part.passages, part.columns[DENSE].file, part.deleted, part.live.documents)


@dataclass(frozen=True)
class CompactSpec:
    """Parts that become one."""

    parts: tuple[StoredPart, ...]


@dataclass(frozen=True)
class Compacted:
    """The part that they became; None where nothing in them is live."""

    part: Part | None


COMPACT = Stage("compact", CompactSpec, Compacted)


def compact(
    context: Context, parts: Sequence[Part], groups: Sequence[Sequence[int]]
) -> list[Part | None]:
    """The part that each group becomes; None where nothing in it is live."""
    specs = [CompactSpec(tuple(StoredPart.of(parts[n]) for n in group)) for group in groups]
    dones = run_stage(context, COMPACT, specs, [Step(partial(Compact, context.workspace))])
    return [done.made.part for done in dones]


@dataclass(frozen=True)
class Compact:
    """Parts → one part of their live rows, with the same vectors to the bit."""

    workspace: Workspace

    def __call__(self, unit: Unit[CompactSpec], tables: Tables) -> Result[Compacted]:
        pieces = [self._live(part) for part in unit.spec.parts if part.live]
        if not pieces:
            return Result(Compacted(None), {"rows": 0})
        passages = pa.concat_tables([table for table, _ in pieces]).combine_chunks()
        vectors = np.concatenate([array for _, array in pieces])
        files = write_part(self.workspace, passages)
        deleted: Bool = np.zeros(len(vectors), np.bool_)
        part = new_part(self.workspace, files, passages, vectors, deleted)
        return Result(Compacted(part), {"rows": len(vectors)})

    def _live(self, part: StoredPart) -> tuple[pa.Table, npt.NDArray[np.floating]]:
        passages = self.workspace.read_table(part.passages)
        column = self.workspace.read_table(part.vectors)["vector"]
        live = ~read_bitmap(self.workspace, part.deleted, passages.num_rows)
        vectors = matrix(column).astype(column.type.value_type.to_pandas_dtype())
        return passages.filter(pa.array(live)), vectors[live]
