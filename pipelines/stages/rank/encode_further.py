"""encode-NAME: the queries' vectors by a further encoder, a query block a unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrow_columns import refuse_not_finite
from shardrank.core.files import FileRef
from shardrank.core.sparse import SparseRows
from shardrank.core.units import Stage, Unit
from shardrank.index.bm25 import idf
from shardrank.models.encoders.registry import family_of
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import QueryBlock
from shardrank.version.indexes import TermCounts
from shardrank.version.manifest import StoredEncoder


@dataclass(frozen=True)
class FurtherSpec:
    """A block of queries, the fingerprint of a further encoder's card, and what words are weighted
    by."""

    queries: FileRef
    encoder: str
    counts: TermCounts | None


@dataclass(frozen=True)
class FurtherBlock:
    """The vectors of a block of queries, row by row."""

    vectors: FileRef


def encode_further(
    context: Context,
    index: Workspace,
    blocks: Sequence[QueryBlock],
    encoder: StoredEncoder,
    counts: TermCounts | None,
) -> list[FileRef]:
    """The vectors of every block of queries by a further encoder, whose words are weighted by their
    counts in `index`, if there are any."""
    stage = Stage(f"encode-{encoder.name}", FurtherSpec, FurtherBlock)
    specs = [FurtherSpec(each.queries, encoder.card.fingerprint, counts) for each in blocks]
    pool = context.model_pool(len(specs)) if family_of(encoder.settings).runs_a_model else None
    device = pool.device if pool else "cpu"
    make = partial(EncodeFurther, context.workspace, index, encoder, device)
    return [done.made.vectors for done in run_stage(context, stage, specs, [Step(make, pool)])]


class EncodeFurther:
    """A block of queries → its vectors by a further encoder."""

    def __init__(
        self, workspace: Workspace, index: Workspace, encoder: StoredEncoder, device: str
    ) -> None:
        use_threads(1)
        self._workspace, self._index, self._name = workspace, index, encoder.card.name
        self._encoder = family_of(encoder.settings).load(encoder.settings, device, encoder.card)

    def __call__(self, unit: Unit[FurtherSpec], tables: Tables) -> Result[FurtherBlock]:
        texts = self._workspace.read_table(unit.spec.queries, ["text"])["text"]
        column = self._encoder.queries(texts.to_pylist())
        if unit.spec.counts:
            column = weighted(self._index, pa.chunked_array([column]), unit.spec.counts)
        refuse_not_finite(column, f"The encoder {self._name!r}", "queries of a block")
        table = pa.table({"vector": column})
        ref = self._workspace.write_scratch(unit, "vectors.parquet", table)
        return Result(FurtherBlock(ref), {"rows": table.num_rows})


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
