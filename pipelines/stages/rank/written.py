"""What was written about queries takes its way through the search: as parts of them, as passages
whose vectors are averaged with theirs (written-NAME), or as words beside theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Int64
from shardrank.core.arrow_columns import matrix, vector_column
from shardrank.core.excluded import EXCLUDED
from shardrank.core.expansion import mean_vectors, with_words
from shardrank.core.files import FileRef
from shardrank.core.finite import Source, finite_rows, refuse_broken
from shardrank.core.schemas import QUERIES
from shardrank.core.units import Stage, Unit
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.queries import QueryBatch
from shardrank.corpus.validate import rejected_table
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.encode import KEY, QueryBlock
from shardrank.version.manifest import DenseEncoder


def with_written_parts(batch: QueryBatch, written: pa.Table) -> QueryBatch:
    """The batch with the texts (WRITTEN) as parts of its queries."""
    row = pc.index_in(written["query_id"], value_set=batch.table["query_id"].combine_chunks())
    names = pc.binary_join_element_wise(
        written["query_id"], pc.cast(written["number"], pa.string()), " part "
    )
    table = pa.table([names, written["text"]], schema=QUERIES)
    table = table.append_column("parent", written["query_id"])
    if EXCLUDED in batch.table.column_names:  # a part leaves out what its query does
        table = table.append_column(EXCLUDED, batch.table[EXCLUDED].take(row))
    none = rejected_table("", "", [])
    return replace(batch, parts=QueryBatch(table, none, batch.places.take(row)))


def texts_by_row(workspace: Workspace, block: QueryBlock, written: pa.Table) -> list[list[str]]:
    """Of each query of a block what was written about it, in order."""
    ids = workspace.read_table(block.queries, ["query_id"])["query_id"].combine_chunks()
    found: list[list[str]] = [[] for _ in range(len(ids))]
    rows = pc.index_in(written["query_id"], value_set=ids)
    for row, text in zip(rows.to_pylist(), written["text"].to_pylist(), strict=True):
        if row is not None:
            found[row].append(text)
    return found


def write_expanded(
    workspace: Workspace, block: QueryBlock, written: pa.Table, repeat: int
) -> FileRef:
    """A file of a block's texts with the words of what was written about them behind."""
    asked = workspace.read_table(block.queries, ["text"])["text"].to_pylist()
    both = zip(asked, texts_by_row(workspace, block, written), strict=True)
    texts = [with_words(text, passages, repeat) for text, passages in both]
    table = pa.table({"text": pa.array(texts, pa.string())})
    return workspace.write_content(KEY, encode_table(table), table.num_rows)


@dataclass(frozen=True)
class MeanSpec:
    """The vectors of a block of queries, a file of what was written about them (row and text), and
    the fingerprint of the encoder's card."""

    vectors: FileRef
    texts: FileRef
    encoder: str


@dataclass(frozen=True)
class MeanBlock:
    """The vectors of a block of queries, row by row."""

    vectors: FileRef


MEAN = Stage("written", MeanSpec, MeanBlock)


def mean_with_written(
    context: Context,
    blocks: Sequence[QueryBlock],
    vectors: Sequence[FileRef],
    written: pa.Table,
    encoder: DenseEncoder,
) -> list[FileRef]:
    """Of each block the mean vectors of its queries, whose vectors lie in a file a block, and of
    the passages written about them (HyDE)."""
    texts = [_write_texts(context.workspace, block, written) for block in blocks]
    both = zip(vectors, texts, strict=True)
    specs = [MeanSpec(ref, about, encoder.card.fingerprint) for ref, about in both]
    stage = MEAN.of(encoder.settings.name)
    pool = context.model_pool(len(specs))
    step = Step(partial(MeanWithWritten, context.workspace, encoder, pool.device), pool)
    return [done.made.vectors for done in run_stage(context, stage, specs, [step])]


def _write_texts(workspace: Workspace, block: QueryBlock, written: pa.Table) -> FileRef:
    texts = texts_by_row(workspace, block, written)
    rows = [row for row, own in enumerate(texts) for _ in own]
    every = pa.array([text for own in texts for text in own], pa.string())
    table = pa.table({"row": pa.array(rows, pa.int64()), "text": every})
    return workspace.write_content(KEY, encode_table(table), table.num_rows)


class MeanWithWritten:
    """A block's vectors and what was written about its queries → their means."""

    def __init__(self, workspace: Workspace, encoder: DenseEncoder, device: str) -> None:
        from shardrank.models.encoders.dense import load_encoder  # brings torch: a second

        self._workspace, card = workspace, encoder.card
        self._normalised = card.normalise
        self._source = Source("encoder", card.name, card.dtype, "vector")
        use_threads(1)
        self._encoder = load_encoder(encoder.settings, device, card)

    def __call__(self, unit: Unit[MeanSpec], tables: Tables) -> Result[MeanBlock]:
        queries = matrix(self._workspace.read_table(unit.spec.vectors)["vector"])
        written = self._workspace.read_table(unit.spec.texts)
        of: Int64 = written["row"].to_numpy()
        broken = 0
        if len(of):
            passages = self._encoder.encode_documents(written["text"].to_pylist())
            finite = finite_rows(passages)
            broken = int((~finite).sum())
            refuse_broken(self._source, broken, len(finite), "passages of a block")
            queries = mean_vectors(queries, of[finite], passages[finite], self._normalised)
        table = pa.table({"vector": vector_column(np.ascontiguousarray(queries, np.float32))})
        ref = self._workspace.write_scratch(unit, "vectors.parquet", table)
        return Result(MeanBlock(ref), {"rows": table.num_rows, "not_finite": broken})
