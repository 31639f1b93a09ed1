"""fit-NAME: what an encoder learns of a sample before it makes any column, such as centroids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.units import Stage, Unit
from shardrank.models.encoders.family import Fitting
from shardrank.models.encoders.registry import family_of
from shardrank.models.forward.threads import use_threads
from shardrank.stages.index.asked import asked_queries
from shardrank.stages.index.drawn import Drawing, draw_rows, read_drawn
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, read_codec
from shardrank.stages.shared.encode import write_blocks
from shardrank.stages.shared.read_values import Read
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part


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
    drawing = Drawing(encoder.name, partial(Read.of, encoder=encoder), rows)
    drawn = draw_rows(context, parts, drawing)
    stage = Stage(f"fit-{encoder.name}", FitSpec, Fitted)
    asked = _asked(context, encoder)
    spec = FitSpec(drawn, encoder.card.fingerprint, wanted.source_codec, asked)
    pool = context.model_pool(1) if family_of(encoder.settings).runs_a_model else None
    make = partial(FitCodec, context.workspace, encoder, pool.device if pool else "cpu")
    [done] = run_stage(context, stage, [spec], [Step(make, pool)])
    return replace(encoder, codec=done.made.codec)


def _asked(context: Context, encoder: StoredEncoder) -> tuple[FileRef, ...]:
    queries = asked_queries(encoder, context.settings)
    if queries is None:
        return ()
    block_queries = context.settings.search.block_queries
    return tuple(write_blocks(context.workspace, queries, block_queries))


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
        sample = read_drawn(self.workspace, unit.spec.sample)
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
