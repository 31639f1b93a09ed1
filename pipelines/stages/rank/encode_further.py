"""encode-NAME: the queries' vectors by a further encoder, a query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import refuse_not_finite
from shardrank.core.files import FileRef
from shardrank.core.model_settings import reads_pictures
from shardrank.core.pictured import pictured
from shardrank.core.sparse import SparseRows
from shardrank.core.units import Stage, Unit
from shardrank.index.bm25 import idf
from shardrank.models.encoders.registry import family_of
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.column_encoders import Sourced, load_column_encoder
from shardrank.stages.shared.encode import PICTURE
from shardrank.version.indexes import TermCounts


@dataclass(frozen=True)
class FurtherSpec:
    """A block of queries, or its values in the column that the encoder reads; the fingerprint of
    the encoder's card, what was fitted (its own codec, and that column's), and what words are
    weighted by."""

    read: FileRef
    encoder: str
    codec: FileRef | None
    source: FileRef | None
    counts: TermCounts | None


@dataclass(frozen=True)
class FurtherBlock:
    """The values of a block of queries, row by row."""

    vectors: FileRef


@dataclass(frozen=True)
class Asking:
    """A further encoder that queries go through; what its words are weighted by, if it counts
    words; and where the blocks of queries lie, if not in the run's own workspace."""

    wanted: Sourced
    counts: TermCounts | None
    batch: Workspace | None = None


def encode_further(
    context: Context, index: Workspace, read: Sequence[FileRef], asking: Asking
) -> list[FileRef]:
    """The values of every block of queries by a further encoder, whose codecs and counts lie in
    `index`. Blocks are of texts, or of values in the column that the encoder's is made of."""
    encoder = asking.wanted.encoder
    stage = Stage(f"encode-{encoder.name}", FurtherSpec, FurtherBlock)
    specs = [_spec(ref, asking) for ref in read]
    pool = context.model_pool(len(specs)) if family_of(encoder.settings).runs_a_model else None
    device = pool.device if pool else "cpu"
    places = Places(asking.batch or context.workspace, index, context.workspace)
    make = partial(EncodeFurther, places, asking.wanted, device)
    return [done.made.vectors for done in run_stage(context, stage, specs, [Step(make, pool)])]


def _spec(read: FileRef, asking: Asking) -> FurtherSpec:
    encoder, source = asking.wanted.encoder, asking.wanted.source_codec
    return FurtherSpec(read, encoder.card.fingerprint, encoder.codec, source, asking.counts)


@dataclass(frozen=True)
class Places:
    """Where queries, an encoder's codecs and counts, and what is made of the queries lie."""

    batch: Workspace
    index: Workspace
    out: Workspace


class EncodeFurther:
    """A block of queries → its values by a further encoder."""

    def __init__(self, places: Places, wanted: Sourced, device: str) -> None:
        self._places, self._name = places, wanted.encoder.card.name
        self._reads = ["text"] if wanted.encoder.values_of is None else ["vector"]
        self._sees = reads_pictures(wanted.encoder.settings)
        self._encoder = load_column_encoder(places.index, wanted, device)

    def __call__(self, unit: Unit[FurtherSpec], tables: Tables) -> Result[FurtherBlock]:
        column = self._encoder.queries(self._read(unit.spec.read))
        if unit.spec.counts:
            column = weighted(self._places.index, pa.chunked_array([column]), unit.spec.counts)
        refuse_not_finite(column, f"The encoder {self._name!r}", "queries of a block")
        table = pa.table({"vector": column})
        ref = self._places.out.write_scratch(unit, "vectors.parquet", table)
        return Result(FurtherBlock(ref), {"rows": table.num_rows})

    def _read(self, file: FileRef) -> pa.Array:
        """Texts, with pictures where there are any and the encoder sees them, or values."""
        found = self._places.batch.read_table(file, None if self._sees else self._reads)
        read = pa.concat_arrays(found[self._reads[0]].chunks)
        seen = self._sees and PICTURE in found.column_names
        return pictured(read, found[PICTURE].combine_chunks()) if seen else read


def weighted(index: Workspace, column: pa.ChunkedArray, counts: TermCounts) -> pa.Array:
    """Counted words, each weighted by how rare it is; those that no passage has are left out."""
    rows = SparseRows.of(column)
    table = index.read_table(counts.terms)
    known, passages = table["term"].to_numpy(), table["passages"].to_numpy()
    place = np.minimum(np.searchsorted(known, rows.terms), max(0, len(known) - 1))
    found = known[place] == rows.terms if len(known) else np.zeros(len(rows.terms), np.bool_)
    weights = rows.weights[found] * idf(counts.passages, passages[place[found]])
    ends = np.concatenate([[0], np.cumsum(found, dtype=np.int64)])[rows.ends]
    kept = SparseRows(ends, rows.terms[found], weights)
    return kept.array(pa.uint64(), pa.float32())
