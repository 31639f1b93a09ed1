"""fit-NAME: what an encoder learns of a sample before it makes any column, such as centroids.

draw-NAME gathers the sample: of the passages' texts, or of the column that the encoder reads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.models.encoders.registry import Fitting, family_of
from shardrank.models.forward.threads import use_threads
from shardrank.stages.index.asked import asked_queries
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, read_codec
from shardrank.stages.shared.encode import write_blocks
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.read_values import Read, read_values
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part
from shardrank.version.sampling import allocate, draw
from shardrank.version.sizing import SAMPLED_PARTS_PER_UNIT

#: Of the draw. What is fitted is kept as long as its encoder is, so there is nothing to vary.
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


@dataclass(frozen=True)
class FitSpec:
    """The files of a sample, the fingerprint of the encoder's card, the codec of the column that it
    reads, and the files of queries that are read beside."""

    sample: tuple[FileRef, ...]
    encoder: str
    source: FileRef | None
    asked: tuple[FileRef, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """The codec."""

    codec: FileRef


def fitted(context: Context, parts: Sequence[Part], wanted: Sourced) -> StoredEncoder:
    """The encoder with its codec, of all parts; as it is where it has one, or needs none."""
    encoder = wanted.encoder
    fit = family_of(encoder.settings).fit
    rows = fit.rows(encoder.settings, encoder.card) if fit else 0
    if not rows or encoder.codec is not None:
        return encoder
    drawn = _draw(context, parts, encoder, rows)
    stage = Stage(f"fit-{encoder.name}", FitSpec, Fitted)
    asked = _asked(context, encoder)
    spec = FitSpec(drawn, encoder.card.fingerprint, wanted.source_codec, asked)
    pool = context.model_pool(1) if family_of(encoder.settings).runs_a_model else None
    make = partial(FitCodec, context.workspace, encoder, pool.device if pool else "cpu")
    [done] = run_stage(context, stage, [spec], [Step(make, pool)])
    return replace(encoder, codec=done.made.codec)


def _draw(
    context: Context, parts: Sequence[Part], encoder: StoredEncoder, rows: int
) -> tuple[FileRef, ...]:
    stage = Stage(f"draw-{encoder.name}", DrawSpec, Drawn)
    specs = plan_draw(parts, encoder, rows)
    dones = run_stage(context, stage, specs, [Step(partial(DrawRows, context.workspace))])
    return tuple(done.made.sample for done in dones)


def _asked(context: Context, encoder: StoredEncoder) -> tuple[FileRef, ...]:
    queries = asked_queries(encoder, context.settings)
    if queries is None:
        return ()
    block_queries = context.settings.search.block_queries
    return tuple(write_blocks(context.workspace, queries, block_queries))


def plan_draw(parts: Sequence[Part], encoder: StoredEncoder, rows: int) -> list[DrawSpec]:
    """One unit for every SAMPLED_PARTS_PER_UNIT parts that give rows to the sample."""
    counts = allocate([part.live.passages for part in parts], rows, _SEED)
    drawn = [
        DrawnRead(part.id, Read.of(part, encoder), count)
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


@dataclass(frozen=True)
class FitCodec:
    """A sample → the codec."""

    workspace: Workspace
    encoder: StoredEncoder
    device: str

    def __call__(self, unit: Unit[FitSpec], tables: Tables) -> Result[Fitted]:
        use_threads(1)
        settings, card = self.encoder.settings, self.encoder.card
        fit = family_of(settings).fit
        assert fit is not None
        sample = self._sample(unit.spec.sample)
        source = read_codec(self.workspace, unit.spec.source)
        asked = self._asked(unit.spec.asked)
        data = fit.make(Fitting(settings, card, self.device, source, sample, asked))
        return Result(
            Fitted(self.workspace.write_content("codecs/{}.safetensors", data, len(sample))),
            {"rows": len(sample)},
        )

    def _asked(self, files: Sequence[FileRef]) -> pa.Array | None:
        tables = [self.workspace.read_table(ref) for ref in files]
        return pa.concat_tables(tables)["text"].combine_chunks() if tables else None

    def _sample(self, files: Sequence[FileRef]) -> pa.Array:
        """By part and row, so that the order does not depend on the units."""
        table = pa.concat_tables([self.workspace.read_table(ref) for ref in files])
        order = np.lexsort([table["row"].to_numpy(), table["part"].to_numpy(zero_copy_only=False)])
        return pa.concat_arrays(table["read"].take(pa.array(order)).chunks)
