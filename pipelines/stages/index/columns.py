"""embed-NAME: a further column of every part that lacks it, from the texts of its passages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import refuse_not_finite, vector_column
from shardrank.core.files import FileRef
from shardrank.core.finite import finite_rows
from shardrank.core.model_settings import Stored
from shardrank.core.pools import TASK_CPUS
from shardrank.core.text import passage_text
from shardrank.core.units import Stage, Unit
from shardrank.models.encoders.registry import family_of
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import write_column
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part, StoredColumn


@dataclass(frozen=True)
class ColumnSpec:
    """A part's passages, which of them are deleted, the fingerprint of the encoder's card, and how
    vectors are stored."""

    passages: FileRef
    deleted: FileRef | None
    encoder: str
    stored: Stored | None


def with_columns(
    context: Context, parts: Sequence[Part], encoders: Sequence[StoredEncoder]
) -> list[Part]:
    """The parts with a column of each encoder; what they have of it stays."""
    found = list(parts)
    for encoder in encoders:
        lacking = [n for n, part in enumerate(found) if encoder.name not in part.columns]
        made = _make(context, [found[n] for n in lacking], encoder)
        for n, column in zip(lacking, made, strict=True):
            found[n] = replace(found[n], columns={**found[n].columns, encoder.name: column})
    return found


def _make(context: Context, parts: Sequence[Part], encoder: StoredEncoder) -> list[StoredColumn]:
    stage = Stage(f"embed-{encoder.name}", ColumnSpec, StoredColumn)
    name, stored = encoder.card.fingerprint, encoder.stored
    specs = [ColumnSpec(each.passages, each.deleted, name, stored) for each in parts]
    runs_a_model = family_of(encoder.settings).runs_a_model
    pool = context.model_pool(len(specs)) if runs_a_model else None
    steps = [
        Step(partial(ReadTexts, context.workspace), cpus=TASK_CPUS),
        Step(partial(MakeColumn, encoder, pool.device if pool else "cpu"), pool),
        Step(partial(WriteColumn, context.workspace, encoder.name), cpus=TASK_CPUS),
    ]
    return [done.made for done in run_stage(context, stage, specs, steps)]


@dataclass(frozen=True)
class ReadTexts:
    """A part → what its passages are to an encoder, and which of them are live."""

    workspace: Workspace

    def __call__(self, unit: Unit[ColumnSpec], tables: Tables) -> Tables:
        passages = self.workspace.read_table(unit.spec.passages, ["title", "text"])
        both = zip(passages["title"].to_pylist(), passages["text"].to_pylist(), strict=True)
        texts = [passage_text(*each) for each in both]
        live = ~read_bitmap(self.workspace, unit.spec.deleted, unit.spec.passages.rows)
        return {"passages": pa.table({"text": texts, "live": live})}


class MakeColumn:
    """Texts → their vectors."""

    def __init__(self, encoder: StoredEncoder, device: str) -> None:
        use_threads(1)
        self._name = encoder.card.name
        self._encoder = family_of(encoder.settings).load(encoder.settings, device, encoder.card)

    def __call__(self, unit: Unit[ColumnSpec], tables: Tables) -> Tables:
        passages = tables["passages"]
        made = self._encoder.column(passages["text"].to_pylist())
        column = _mended(made, passages["live"].to_numpy())
        refuse_not_finite(column, f"The encoder {self._name!r}", "passages of a part")
        return {"vectors": pa.table({"vector": column})}


def _mended(column: pa.Array, live: Bool) -> pa.Array:
    """Broken vectors of rows that are deleted are 0, as those of the first encoder are: what it set
    aside is often more than others can take, too."""
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
        spec, vectors = unit.spec, tables["vectors"]["vector"]
        values = pa.concat_arrays(vectors.chunks)
        live = ~read_bitmap(self.workspace, spec.deleted, spec.passages.rows)
        made = write_column(self.workspace, spec.passages, self.name, values, live)
        return Result(made, {"rows": len(values)})
