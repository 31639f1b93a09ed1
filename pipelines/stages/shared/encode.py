"""encode: the batch of queries, in blocks, becomes vectors.

Those of the first encoder decide which queries can be asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import vector_column
from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.finite import Source, finite_rows, refuse_broken
from shardrank.core.units import Done, Stage, Unit, total
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.validate import Reason
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.version.folding import PICTURE_BYTES
from shardrank.version.manifest import DenseEncoder

#: Where the blocks of a batch lie, named from their content.
KEY = "units/queries/{}.parquet"
#: The column of queries' pictures, where any has one.
PICTURE = "picture"


@dataclass(frozen=True)
class EncodeSpec:
    """A block of queries as it was given, and the fingerprint of the encoder's card."""

    queries: FileRef
    encoder: str


@dataclass(frozen=True)
class RejectedQuery:
    """A query without a vector: its number in the block as it was given, and why."""

    row: int
    reason: Reason


@dataclass(frozen=True)
class QueryBlock:
    """A block of the query batch: its ids and texts, and its vectors, row by row; and what is in
    neither file."""

    queries: FileRef
    vectors: FileRef
    rejected: tuple[RejectedQuery, ...]


ENCODE = Stage("encode", EncodeSpec, QueryBlock)


def write_blocks(workspace: Workspace, queries: pa.Table, block_queries: int) -> list[FileRef]:
    """The query batch as files of at most `block_queries` rows, in the order given; where they have
    pictures, of few enough for a worker."""
    blocks = cut_blocks(queries, block_queries)
    return [workspace.write_content(KEY, encode_table(b), b.num_rows) for b in blocks]


def cut_blocks(queries: pa.Table, block_queries: int) -> Iterator[pa.Table]:
    """Blocks of at most so many rows; of pictures, of few enough for a worker."""
    if PICTURE not in queries.column_names:
        for start in range(0, queries.num_rows, block_queries):
            yield queries.slice(start, block_queries)
        return
    sizes = pc.fill_null(pc.binary_length(queries[PICTURE]), 0).to_pylist()
    start = held = 0
    for row, size in enumerate(sizes):
        if row > start and (row - start == block_queries or held + size > PICTURE_BYTES):
            yield queries.slice(start, row - start)
            start, held = row, 0
        held += size
    yield queries.slice(start)


def encode(
    context: Context, blocks: Sequence[FileRef], encoder: DenseEncoder, stage: str = ENCODE.name
) -> list[QueryBlock]:
    """The vectors of every block of queries, with the model's query prompt.

    Raises:
        InputError: no query of any block has tokens and a finite vector. Of parts of queries, which
            have a stage of their own, none needs to.
    """
    card = encoder.card
    specs = [EncodeSpec(ref, card.fingerprint) for ref in blocks]
    pool = context.model_pool(len(specs))
    make = partial(Encode, context.workspace, encoder, pool.device)
    dones = run_stage(context, replace(ENCODE, name=stage), specs, [Step(make, pool)])
    if stage == ENCODE.name and not total(dones, "rows"):
        context.workspace.forget(stage, dones)
        raise InputError(
            f"None of the {sum(ref.rows for ref in blocks):,} queries can be encoded: "
            f"{_first_reason(dones)}.",
            f"Look at the queries and at the encoder {card.name!r} ({card.dtype}).",
        )
    return [done.made for done in dones]


def _first_reason(dones: Sequence[Done[QueryBlock]]) -> str:
    return str(next(query.reason for done in dones for query in done.made.rejected))


class Encode:
    """A block of queries → float32 vectors of those that have one.

    A query of which the tokeniser leaves nothing has the vector of no text, and is set aside as
    such a document is, unless it has a picture.
    """

    def __init__(self, workspace: Workspace, encoder: DenseEncoder, device: str) -> None:
        from shardrank.models.encoders.dense import load_encoder  # brings torch: a second

        self._workspace = workspace
        card = encoder.card
        self._source = Source("encoder", card.name, card.dtype, "vector")
        use_threads(1)
        self._encoder = load_encoder(encoder.settings, device, card)

    def __call__(self, unit: Unit[EncodeSpec], tables: Tables) -> Result[QueryBlock]:
        asked = unit.spec.queries
        queries = self._workspace.read_table(asked)
        rejected = self._unusable(queries)
        rows = np.array([n for n in range(queries.num_rows) if n not in rejected], np.int64)
        vectors = self._vectors(queries["text"].take(rows).to_pylist())
        finite = finite_rows(vectors)
        refuse_broken(self._source, int((~finite).sum()), len(finite), "queries of a block")
        rejected |= {int(row): Reason.NOT_FINITE for row in rows[~finite]}
        table = pa.table({"vector": vector_column(vectors[finite])})
        block = QueryBlock(
            self._kept(queries.take(rows[finite])) if rejected else asked,
            self._workspace.write_scratch(unit, "vectors.parquet", table),
            tuple(RejectedQuery(row, why) for row, why in sorted(rejected.items())),
        )
        return Result(block, {"rows": table.num_rows, "rejected": len(rejected)})

    def _unusable(self, queries: pa.Table) -> dict[int, Reason]:
        """Queries without a picture that the tokeniser leaves nothing of, and those whose picture
        cannot be decoded, by their rows."""
        spans = self._encoder.tokeniser.encode(queries["text"].to_pylist())
        if PICTURE not in queries.column_names:
            return {n: Reason.NO_TOKENS for n, each in enumerate(spans) if not len(each.ids)}
        both = zip(spans, queries[PICTURE], strict=True)
        found = ((n, _reason(len(each.ids), picture)) for n, (each, picture) in enumerate(both))
        return {n: reason for n, reason in found if reason}

    def _vectors(self, texts: list[str]) -> Float32:
        if not texts:
            return np.empty((0, self._encoder.dim), np.float32)
        return self._encoder.encode_queries(texts)

    def _kept(self, queries: pa.Table) -> FileRef:
        return self._workspace.write_content(KEY, encode_table(queries), queries.num_rows)


def _reason(tokens: int, picture: pa.BinaryScalar) -> Reason | None:
    """Why a query of so many tokens cannot be asked."""
    if not picture.is_valid:
        return None if tokens else Reason.NO_TOKENS
    from shardrank.pictures.opening import READ, BadPicture, decoded  # brings Pillow

    try:
        decoded(picture.as_py(), READ)
    except BadPicture as error:
        return Reason(str(error.fault))
    return None
