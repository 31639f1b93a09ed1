"""Old vectors beside those of another encoder: a map is learnt of passages that both have seen, and
the column of every part that keeps its old passages goes through it.

draw_map_texts and draw_map_vectors gather the same passages, embed_map embeds them by the new
encoder, fit_map fits and measures, map makes the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from shardrank.core.arrow_columns import matrix, refuse_not_finite, vector_column
from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.finite import Source, finite_rows, refuse_broken
from shardrank.core.model_settings import DENSE, Stored
from shardrank.core.space_map import MapKind, SpaceMap
from shardrank.core.units import Done, Stage, Unit, total
from shardrank.models.forward.threads import use_threads
from shardrank.stages.index.audit import query_vectors
from shardrank.stages.index.drawn import DRAW, Drawing, draw_rows, drawn_rows, same_rows
from shardrank.stages.index.embed import narrow
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import write_column
from shardrank.stages.shared.read_values import Read, read_values
from shardrank.version.manifest import DenseEncoder
from shardrank.version.parts import Part, StoredColumn


@dataclass(frozen=True)
class EmbedSampleSpec:
    """A file of drawn texts, the fingerprint of the encoder's card, and the type of its vectors."""

    texts: FileRef
    encoder: str
    stored: Stored


@dataclass(frozen=True)
class EmbeddedSample:
    """The file of the rows with their vectors, but for those that have no finite one."""

    vectors: FileRef


@dataclass(frozen=True)
class FitMapSpec:
    """Files of drawn rows by both encoders, of which the new one may have fewer, of queries by it,
    and whether its vectors have length 1."""

    old: tuple[FileRef, ...]
    new: tuple[FileRef, ...]
    asked: tuple[FileRef, ...]
    unit: bool


@dataclass(frozen=True)
class LearntMap:
    """The map's file, what it finds, and among how many passages: see `Mapped`."""

    map: FileRef
    kind: MapKind
    recall: float
    measured: int


@dataclass(frozen=True)
class MapSpec:
    """A part and its old column, the map, and how vectors are stored."""

    read: Read
    map: FileRef
    stored: Stored


#: The count of passages that are set aside, and why.
NOT_FINITE = "not_finite"

#: Of the same passages.
TEXTS = replace(DRAW, name="draw_map_texts")
VECTORS = replace(DRAW, name="draw_map_vectors")
#: In which the new encoder sees the sample.
EMBED = Stage("embed_map", EmbedSampleSpec, EmbeddedSample)
FIT = Stage("fit_map", FitMapSpec, LearntMap)
MAP = Stage("map", MapSpec, StoredColumn)


def learn_map(
    context: Context, parts: Sequence[Part], encoder: DenseEncoder
) -> tuple[LearntMap, Sequence[Done[EmbeddedSample]]]:
    """The map from the parts' vectors to those of the encoder, and the markers of what it was
    learnt of: an encoder gone wrong has made that, too.

    Raises:
        InputError: the encoder gives nothing finite, or there are too few passages.
    """
    rows = context.settings.backfill.sample
    texts = draw_rows(context, parts, Drawing(TEXTS, Read.texts, rows))
    old = draw_rows(context, parts, Drawing(VECTORS, partial(Read.column, name=DENSE), rows))
    made = _embedded(context, texts, encoder)
    new = tuple(done.made.vectors for done in made)
    path = context.settings.audit.query_file
    asked = query_vectors(context, encoder, path) if path is not None else []
    spec = FitMapSpec(old, new, tuple(asked), encoder.card.normalise)
    [done] = run_stage(context, FIT, [spec], [Step(partial(FitMap, context.workspace))])
    return done.made, made


def no_vector(sample: Sequence[Done[EmbeddedSample]]) -> int:
    """Passages of a sample that have no finite vector."""
    return total(sample, NOT_FINITE)


def with_mapped(
    context: Context, parts: Sequence[Part], learnt: FileRef, stored: Stored
) -> list[Part]:
    """The parts with vectors that come out of a map; those of which nothing is live stay."""
    live = [n for n, part in enumerate(parts) if part.live.documents]
    specs = [MapSpec(Read.column(parts[n], DENSE), learnt, stored) for n in live]
    dones = run_stage(context, MAP, specs, [Step(partial(MapColumn, context.workspace))])
    found = list(parts)
    for n, done in zip(live, dones, strict=True):
        found[n] = replace(found[n], columns={**found[n].columns, DENSE: done.made})
    return found


def _embedded(
    context: Context, texts: Sequence[FileRef], encoder: DenseEncoder
) -> Sequence[Done[EmbeddedSample]]:
    stored = encoder.settings.stored
    specs = [EmbedSampleSpec(ref, encoder.card.fingerprint, stored) for ref in texts]
    pool = context.model_pool(len(specs))
    make = partial(EmbedSample, context.workspace, encoder, pool.device)
    made = run_stage(context, EMBED, specs, [Step(make, pool)])
    _refuse_broken(context, encoder, made)
    return made


def _refuse_broken(
    context: Context, encoder: DenseEncoder, made: Sequence[Done[EmbeddedSample]]
) -> None:
    """Raise InputError where no passage of the sample has a finite vector; of some that have none
    nothing is learnt."""
    card, broken = encoder.card, no_vector(made)
    source = Source("encoder", card.name, card.dtype, "vector")
    try:
        refuse_broken(source, broken, total(made, "rows"), "passages of a sample")
    except InputError:
        context.workspace.forget(EMBED.name, made)
        raise
    if broken:
        context.watch.rejected(EMBED.name, {NOT_FINITE: broken})


class EmbedSample:
    """Drawn texts → their vectors."""

    def __init__(self, workspace: Workspace, encoder: DenseEncoder, device: str) -> None:
        from shardrank.models.encoders.dense import load_encoder  # brings torch: a second
        from shardrank.models.encoders.texts import TextVectors

        use_threads(1)
        self._workspace = workspace
        model = load_encoder(encoder.settings, device, encoder.card)
        self._encoder = TextVectors(model, encoder.settings.stored)

    def __call__(self, unit: Unit[EmbedSampleSpec], tables: Tables) -> Result[EmbeddedSample]:
        drawn = self._workspace.read_table(unit.spec.texts)
        vectors = self._encoder.column(pa.concat_arrays(drawn["read"].chunks))
        table = drawn.set_column(drawn.column_names.index("read"), "read", vectors)
        finite = table.filter(pa.array(finite_rows(matrix(pa.chunked_array([vectors])))))
        ref = self._workspace.write_scratch(unit, "vectors.parquet", finite)
        counts = {"rows": len(vectors), NOT_FINITE: len(vectors) - finite.num_rows}
        return Result(EmbeddedSample(ref), counts)


@dataclass(frozen=True)
class FitMap:
    """Vectors of the same passages by both encoders → the map, and what it finds."""

    workspace: Workspace

    def __call__(self, unit: Unit[FitMapSpec], tables: Tables) -> Result[LearntMap]:
        from shardrank.models.encoders.space_fit import Pairs, fit_space  # brings numba

        use_threads(1)
        spec = unit.spec
        new = drawn_rows(self.workspace, spec.new)
        old = same_rows(drawn_rows(self.workspace, spec.old), new)
        asked = [self.workspace.read_table(ref)["vector"] for ref in spec.asked]
        queries = matrix(pa.chunked_array([c for a in asked for c in a.chunks])) if asked else None
        pairs = Pairs(matrix(old["read"]), matrix(new["read"]))
        found = fit_space(pairs, spec.unit, queries)
        key = "codecs/{}.safetensors"
        ref = self.workspace.write_content(key, found.map.to_bytes(), new.num_rows)
        made = LearntMap(ref, found.map.kind, found.recall, found.measured)
        return Result(made, {"rows": new.num_rows})


@dataclass(frozen=True)
class MapColumn:
    """A part's old column → the vectors that come out of the map, in a file beside its passages."""

    workspace: Workspace

    def __call__(self, unit: Unit[MapSpec], tables: Tables) -> Result[StoredColumn]:
        from shardrank.models.encoders.space_fit import through  # brings numba

        read = unit.spec.read
        found = SpaceMap.of(self.workspace.storage.read_checked(unit.spec.map))
        old = matrix(pa.chunked_array([read_values(self.workspace, read)]))
        values = vector_column(narrow(through(found, old), unit.spec.stored))
        refuse_not_finite(values, "The map of old vectors", "passages of a part")
        live = ~read_bitmap(self.workspace, read.deleted, read.rows)
        made = write_column(self.workspace, read.passages, DENSE, values, live)
        return Result(replace(made, mapped=True), {"rows": len(values)})
