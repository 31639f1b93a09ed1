"""embed-NAME: a further column of every part that lacks it, from the texts of its passages, or from
another column."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import refuse_not_finite, vector_column
from shardrank.core.files import FileRef
from shardrank.core.finite import finite_rows
from shardrank.core.model_settings import Stored
from shardrank.core.pools import TASK_CPUS
from shardrank.core.protocols import CountedColumn, CountingEncoder
from shardrank.core.token_vectors import emptied
from shardrank.core.units import Done, Stage, Unit, total
from shardrank.models.encoders.registry import family_of
from shardrank.stages.index.fit import fitted
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, load_column_encoder
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import write_column
from shardrank.stages.shared.read_values import Read, read_values
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part, StoredColumn


@dataclass(frozen=True)
class ColumnSpec:
    """What is read of a part, the fingerprint of the encoder's card, how vectors are stored, and
    what was fitted: the column's own codec, and that of the column that is read."""

    read: Read
    encoder: str
    stored: Stored | None
    codec: FileRef | None
    source: FileRef | None


@dataclass(frozen=True)
class Columns:
    """Parts with a column of each encoder, and the encoders, with what they learnt."""

    parts: list[Part]
    encoders: list[StoredEncoder]


def with_columns(
    context: Context,
    parts: Sequence[Part],
    first: StoredEncoder,
    further: Sequence[StoredEncoder],
) -> Columns:
    """The parts, which have the first encoder's column, with one of each further encoder; what they
    have of it stays. Those of which nothing is live get none: no version lists them."""
    found, made = list(parts), {first.name: first}
    for encoder in further:
        wanted = Sourced.of(encoder, made)
        wanted = replace(wanted, encoder=fitted(context, found, wanted))
        lacking = [n for n, part in enumerate(found) if _lacks(part, encoder.name)]
        columns = _make(context, [found[n] for n in lacking], wanted)
        for n, column in zip(lacking, columns, strict=True):
            found[n] = replace(found[n], columns={**found[n].columns, encoder.name: column})
        made[encoder.name] = wanted.encoder
    return Columns(found, list(made.values()))


def _lacks(part: Part, column: str) -> bool:
    return column not in part.columns and part.live.documents > 0


def _make(context: Context, parts: Sequence[Part], wanted: Sourced) -> list[StoredColumn]:
    encoder = wanted.encoder
    stage = Stage(f"embed-{encoder.name}", ColumnSpec, StoredColumn)
    specs = [_spec(part, wanted) for part in parts]
    runs_a_model = family_of(encoder.settings).runs_a_model
    pool = context.model_pool(len(specs)) if runs_a_model else None
    device = pool.device if pool else "cpu"
    steps = [
        Step(partial(ReadPart, context.workspace), cpus=TASK_CPUS),
        Step(partial(MakeColumn, context.workspace, wanted, device), pool),
        Step(partial(WriteColumn, context.workspace, encoder.name), cpus=TASK_CPUS),
    ]
    dones = run_stage(context, stage, specs, steps)
    if total(dones, "asked"):
        context.watch.noted(_told(encoder.name, dones))
    return [done.made for done in dones]


def _told(name: str, dones: Sequence[Done[StoredColumn]]) -> str:
    """What became of the passages and texts of a column of these."""
    names = ("written", "asked", "silent", "kept", "dropped")
    written, asked, silent, kept, dropped = (total(dones, each) for each in names)
    return (
        f"{name}: {written:,} texts about {asked:,} passages ({silent:,} without any); {kept:,} "
        f"kept, {dropped:,} dropped"
    )


def _spec(part: Part, wanted: Sourced) -> ColumnSpec:
    encoder = wanted.encoder
    read, card = Read.of(part, encoder), encoder.card
    return ColumnSpec(read, card.fingerprint, encoder.stored, encoder.codec, wanted.source_codec)


@dataclass(frozen=True)
class ReadPart:
    """A part → what the encoder reads of its passages, and which of them are live."""

    workspace: Workspace

    def __call__(self, unit: Unit[ColumnSpec], tables: Tables) -> Tables:
        read = unit.spec.read
        live = ~read_bitmap(self.workspace, read.deleted, read.rows)
        return {"passages": pa.table({"read": read_values(self.workspace, read), "live": live})}


class MakeColumn:
    """What is read → the column's values, and what was counted."""

    def __init__(self, index: Workspace, wanted: Sourced, device: str) -> None:
        self._name = wanted.encoder.card.name
        self._spares = family_of(wanted.encoder.settings).spares_deleted
        self._encoder = load_column_encoder(index, wanted, device)

    def __call__(self, unit: Unit[ColumnSpec], tables: Tables) -> Tables:
        passages = tables["passages"]
        made = self._made(passages)
        column = _mended(made.values, passages["live"].to_numpy())
        refuse_not_finite(column, f"The encoder {self._name!r}", "passages of a part")
        names, counts = list(made.counts), list(made.counts.values())
        told = pa.table(
            {"name": pa.array(names, pa.string()), "count": pa.array(counts, pa.int64())}
        )
        return {"vectors": pa.table({"vector": column}), "counts": told}

    def _made(self, passages: pa.Table) -> CountedColumn:
        read = pa.concat_arrays(passages["read"].chunks)
        if self._spares:
            read = pc.if_else(passages["live"].combine_chunks(), read, "")
        if isinstance(self._encoder, CountingEncoder):
            return self._encoder.counted_column(read)
        return CountedColumn(self._encoder.column(read), {})


def _mended(column: pa.Array, live: Bool) -> pa.Array:
    """Broken vectors of rows that are deleted are 0, as those of the first encoder are, or none
    where
    a row has many: what it set aside is often more than others can take, too."""
    if column.null_count:
        return emptied(column, ~live)
    if not pa.types.is_fixed_size_list(column.type):
        return column
    vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    broken = ~finite_rows(vectors) & ~live
    return vector_column(np.where(broken[:, None], 0, vectors).astype(vectors.dtype))


@dataclass(frozen=True)
class WriteColumn:
    """Vectors → a file beside the part's passages."""

    workspace: Workspace
    name: str

    def __call__(self, unit: Unit[ColumnSpec], tables: Tables) -> Result[StoredColumn]:
        values = pa.concat_arrays(tables["vectors"]["vector"].chunks)
        read = unit.spec.read
        live = ~read_bitmap(self.workspace, read.deleted, read.rows)
        made = write_column(self.workspace, read.passages, self.name, values, live)
        told = tables["counts"]
        counts = zip(told["name"].to_pylist(), told["count"].to_pylist(), strict=True)
        return Result(made, {"rows": len(values), **dict(counts)})
