"""Parts as the index floor wants them: checked, decoded, one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.files import FileRef
from shardrank.corpus.part_keys import live_keys
from shardrank.index.blocks import PartBlock, finite_vectors
from shardrank.stages.run.workspace import Workspace
from shardrank.version.liveness import unpack
from shardrank.version.parts import Part


@dataclass(frozen=True)
class PartColumn:
    """A part as it is searched: its place among the version's parts, what names it, its documents,
    and the values of a column. No text is read."""

    ordinal: int
    id: str
    keys: FileRef
    values: FileRef
    deleted: FileRef | None

    @classmethod
    def of(cls, ordinal: int, part: Part, column: str) -> "PartColumn":
        return cls(ordinal, part.id, part.keys, part.columns[column].file, part.deleted)

    @property
    def rows(self) -> int:
        return self.values.rows


@dataclass(frozen=True)
class PartKeys:
    """A part's documents: its place, their keys, and which of its rows are deleted."""

    ordinal: int
    keys: FileRef
    deleted: FileRef | None
    rows: int

    @classmethod
    def of(cls, ordinal: int, part: Part) -> "PartKeys":
        return cls(ordinal, part.keys, part.deleted, part.rows)


def load_live_keys(workspace: Workspace, part: PartKeys) -> pa.Table:
    """PART_KEYS of the documents that are live."""
    keys = workspace.read_table(part.keys)
    return live_keys(keys, read_bitmap(workspace, part.deleted, part.rows))


def load_block(workspace: Workspace, part: PartColumn) -> PartBlock:
    """A part's ids and vectors. Raises IntegrityError where a file is not as vouched for."""
    keys = workspace.read_table(part.keys, ["doc_id", "row", "rows"])
    live = ~read_bitmap(workspace, part.deleted, part.rows)
    return PartBlock.from_tables(part.ordinal, keys, workspace.read_table(part.values), live)


def read_bitmap(workspace: Workspace, ref: FileRef | None, rows: int) -> Bool:
    """bool[rows], true at deleted rows."""
    if ref is None:
        return np.zeros(rows, np.bool_)
    return unpack(workspace.storage.read_checked(ref), rows)


def load_blocks(workspace: Workspace, parts: Sequence[PartColumn]) -> Iterator[PartBlock]:
    """A shard's parts in order; only one is held at a time."""
    return (load_block(workspace, part) for part in parts)


def offsets(parts: Sequence[PartColumn]) -> list[int]:
    """The shard position of each part's first row."""
    ends = accumulate((part.rows for part in parts), initial=0)
    return list(ends)[:-1]


def live_positions(workspace: Workspace, parts: Sequence[PartColumn]) -> Bool | None:
    """bool[rows of the shard], true at live positions; None where all are."""
    if all(part.deleted is None for part in parts):
        return None
    dead = [read_bitmap(workspace, part.deleted, part.rows) for part in parts]
    return ~np.concatenate(dead)


def live_rows(workspace: Workspace, part: PartColumn) -> Int64:
    """int64[n]: the rows that may be found."""
    return np.flatnonzero(~read_bitmap(workspace, part.deleted, part.rows))


def load_searchable(workspace: Workspace, part: PartColumn, offset: int) -> tuple[Int64, Float32]:
    """Shard positions int64[m] and vectors float32[m, d] of the rows that may be found."""
    live = ~read_bitmap(workspace, part.deleted, part.rows)
    vectors = finite_vectors(part.ordinal, workspace.read_table(part.values), live)
    rows = np.flatnonzero(live)
    return rows.astype(np.int64) + offset, vectors[rows]
