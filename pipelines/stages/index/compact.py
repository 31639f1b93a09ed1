"""compact: groups of parts become one part each, from what is stored; nothing is embedded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.files import FileRef
from shardrank.core.schemas import PICTURES
from shardrank.core.units import Stage, Unit
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import new_part, write_part
from shardrank.version.parts import Part


@dataclass(frozen=True)
class StoredPart:
    """A part as it is rewritten; `live` counts its documents."""

    passages: FileRef
    columns: Mapping[str, FileRef]
    deleted: FileRef | None
    live: int
    pictures: FileRef | None = None

    @classmethod
    def of(cls, part: Part) -> "StoredPart":
        columns = {name: column.file for name, column in part.columns.items()}
        live = part.live.documents
        return cls(part.passages, columns, part.deleted, live, part.pictures)


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
    """The part that each group becomes; None where nothing in it is live. What comes out of a map
    stays known as such: a group's live parts do, or none does."""
    specs = [CompactSpec(tuple(StoredPart.of(parts[n]) for n in group)) for group in groups]
    dones = run_stage(context, COMPACT, specs, [Step(partial(Compact, context.workspace))])
    both = zip(groups, dones, strict=True)
    return [_marked(done.made.part, [parts[n] for n in group]) for group, done in both]


def _marked(made: Part | None, of: Sequence[Part]) -> Part | None:
    if made is None:
        return None
    live = [part for part in of if part.live.documents]
    columns = {
        name: replace(column, mapped=live[0].columns[name].mapped)
        for name, column in made.columns.items()
    }
    return replace(made, columns=columns)


@dataclass(frozen=True)
class Compact:
    """Parts → one part of their live rows, with the same vectors to the bit."""

    workspace: Workspace

    def __call__(self, unit: Unit[CompactSpec], tables: Tables) -> Result[Compacted]:
        parts = [part for part in unit.spec.parts if part.live]
        if not parts:
            return Result(Compacted(None), {"rows": 0})
        live = [self._live(part) for part in parts]
        passages = self._kept([part.passages for part in parts], live).combine_chunks()
        columns = {
            name: pa.concat_arrays(
                self._kept([part.columns[name] for part in parts], live)["vector"].chunks
            )
            for name in parts[0].columns
        }
        files = write_part(self.workspace, passages, self._pictures(parts, live))
        deleted: Bool = np.zeros(passages.num_rows, np.bool_)
        part = new_part(self.workspace, files, passages, columns, deleted)
        return Result(Compacted(part), {"rows": passages.num_rows})

    def _pictures(self, parts: Sequence[StoredPart], live: Sequence[pa.Array]) -> pa.Table | None:
        """PICTURES of the live rows; None where none has one."""
        if not any(part.pictures for part in parts):
            return None
        tables = [
            self.workspace.read_table(part.pictures)
            if part.pictures
            else pa.Table.from_arrays([pa.nulls(part.passages.rows, pa.binary())], schema=PICTURES)
            for part in parts
        ]
        both = zip(tables, live, strict=True)
        found = pa.concat_tables(table.filter(rows) for table, rows in both)
        return found if found["picture"].null_count < found.num_rows else None

    def _live(self, part: StoredPart) -> pa.Array:
        """bool[rows]: which stay."""
        return pa.array(~read_bitmap(self.workspace, part.deleted, part.passages.rows))

    def _kept(self, refs: Sequence[FileRef], live: Sequence[pa.Array]) -> pa.Table:
        both = zip(refs, live, strict=True)
        return pa.concat_tables(self.workspace.read_table(ref).filter(rows) for ref, rows in both)
