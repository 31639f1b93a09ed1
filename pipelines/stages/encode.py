"""encode: the batch of queries, in blocks, becomes vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from pipelines.core.columns import vector_column
from pipelines.core.errors import InputError
from pipelines.core.protocols import Float32
from pipelines.core.settings import EncoderSettings
from pipelines.core.units import FileRef, Unit
from pipelines.corpus.parts import encode_table
from pipelines.models.card import EncoderCard
from pipelines.models.threads import use_threads
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


@dataclass(frozen=True)
class QueryBlock:
    """A block of the query batch: its ids and texts, and its vectors, row by row."""

    queries: FileRef
    vectors: FileRef


def write_blocks(workspace: Workspace, queries: pa.Table, block_queries: int) -> list[FileRef]:
    """The query batch as files of at most `block_queries` rows, in the order given."""
    starts = range(0, queries.num_rows, block_queries)
    blocks = (queries.slice(at, block_queries) for at in starts)
    key = "units/queries/{}.parquet"
    return [workspace.write_content(key, encode_table(b), b.num_rows) for b in blocks]


def encode(context: Context, blocks: Sequence[FileRef], card: EncoderCard) -> list[QueryBlock]:
    """The vectors of every block of queries, with the model's query prompt."""
    spec = {"encoder": card.fingerprint}
    units = [Unit("encode", {"queries": ref.json(), **spec}) for ref in blocks]
    pool = context.model_pool(len(units))
    settings = context.settings.encoder
    make = partial(Encode, context.workspace, settings, card.fingerprint, pool.device)
    dones = run_stage(context, "encode", units, [Step(make, pool)])
    outputs = [done.outputs["vectors"] for done in dones]
    return [QueryBlock(q, v) for q, v in zip(blocks, outputs, strict=True)]


class Encode:
    """A block of queries → float32 vectors."""

    def __init__(
        self, workspace: Workspace, settings: EncoderSettings, fingerprint: str, device: str
    ) -> None:
        from pipelines.models.encoder import load_encoder  # brings torch: a second

        self._workspace = workspace
        use_threads(1)
        self._encoder = load_encoder(settings, device, fingerprint)

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        queries = self._workspace.read_table(
            FileRef.parse(unit.spec["queries"]), ["query_id", "text"]
        )
        vectors = self._encoder.encode_queries(queries["text"].to_pylist())
        _require_finite(vectors, queries["query_id"])
        table = pa.table({"vector": vector_column(vectors)})
        ref = self._workspace.write_scratch(unit, "vectors.parquet", table)
        return Result({"vectors": ref}, {"rows": len(vectors)}, {})


def _require_finite(vectors: Float32, query_ids: pa.ChunkedArray) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"The encoder gives {len(bad)} queries vectors that are not finite, the first is "
            f"{query_ids[int(bad[0])].as_py()!r}.",
            "Take these queries out, or run the encoder in fp32 (encoder.dtype).",
        )
