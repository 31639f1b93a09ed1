"""embed: every part's passages become vectors, on a pool of encoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Float32
from shardrank.core.arrow_columns import matrix, token_lists, vector_column
from shardrank.core.files import FileRef
from shardrank.core.finite import Source, finite_rows, refuse_broken
from shardrank.core.model_settings import DENSE, Stored
from shardrank.core.pools import TASK_CPUS
from shardrank.core.schemas import REJECTED
from shardrank.core.units import Done, Stage, Unit
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_files import PartFiles, new_part
from shardrank.version.manifest import DenseEncoder
from shardrank.version.parts import Part


@dataclass(frozen=True)
class EmbedSpec:
    """A part, the fingerprint of the encoder's card, and how its vectors are stored."""

    files: PartFiles
    encoder: str
    dim: int
    stored: Stored


@dataclass(frozen=True)
class Embedded:
    """The part with its vectors; and REJECTED."""

    part: Part
    rejected: FileRef


EMBED = Stage("embed", EmbedSpec, Embedded)


def embed(
    context: Context, parts: Sequence[PartFiles], encoder: DenseEncoder
) -> list[Done[Embedded]]:
    """Every part with its vectors, in the order of `parts`."""
    card, settings = encoder.card, encoder.settings
    specs = [EmbedSpec(part, card.fingerprint, card.dim, settings.stored) for part in parts]
    pool = context.model_pool(len(specs))
    steps = [
        Step(partial(ReadTokens, context.workspace), cpus=TASK_CPUS),
        Step(partial(Embed, encoder, pool.device), pool),
        Step(partial(WriteVectors, context.workspace), cpus=TASK_CPUS),
    ]
    return run_stage(context, EMBED, specs, steps)


def refuse_broken_parts(encoder: DenseEncoder, embedded: Sequence[Done[Embedded]]) -> None:
    """Raise InputError where not one passage of a part has a finite vector."""
    card, stored = encoder.card, encoder.settings.stored
    source = Source("encoder", card.name, card.dtype, "vector")
    large = "Where it does not normalise they may be too large for fp16: encoder.stored=fp32."
    for done in embedded:
        broken, rows = done.counts["not_finite"], done.counts["rows"]
        hint = large if stored == "fp16" else ""
        refuse_broken(source, broken, rows, "passages of a part", hint=hint)


@dataclass(frozen=True)
class ReadTokens:
    """A part → its tokens and ids."""

    workspace: Workspace

    def __call__(self, unit: Unit[EmbedSpec], tables: Tables) -> Tables:
        columns = ["doc_id", "content_hash", "tokens", "truncated"]
        return {"passages": self.workspace.read_table(unit.spec.files.passages, columns)}


class Embed:
    """Token ids → vectors, the whole part at once, so that batches are as even as can be."""

    def __init__(self, encoder: DenseEncoder, device: str) -> None:
        from shardrank.models.encoders.dense import load_encoder  # brings torch: a second

        use_threads(1)
        self._encoder = load_encoder(encoder.settings, device, encoder.card)

    def __call__(self, unit: Unit[EmbedSpec], tables: Tables) -> Tables:
        passages = tables["passages"]
        vectors = self._encoder.encode_ids(token_lists(passages["tokens"]))
        kept = narrow(vectors, unit.spec.stored)
        return {"passages": passages, "vectors": pa.table({"vector": vector_column(kept)})}


@dataclass(frozen=True)
class WriteVectors:
    """Vectors → a file beside the part's passages; documents that have bad ones are set aside."""

    workspace: Workspace

    def __call__(self, unit: Unit[EmbedSpec], tables: Tables) -> Result[Embedded]:
        files, passages = unit.spec.files, tables["passages"]
        vectors = narrow(matrix(tables["vectors"]["vector"]), unit.spec.stored)
        broken = int((~finite_rows(vectors)).sum())
        bad = ~finite_documents(vectors, passages["doc_id"])
        vectors[bad] = 0
        rejected = _rejected(files.passages.key, passages["doc_id"], bad)
        made = Embedded(
            new_part(self.workspace, files, passages, {DENSE: vector_column(vectors)}, bad),
            self.workspace.write_scratch(unit, "rejected.parquet", rejected),
        )
        counts = {"rows": len(vectors), "rejected": rejected.num_rows, "not_finite": broken}
        return Result(made, counts)


def narrow(vectors: Float32, stored: str) -> npt.NDArray[np.floating]:
    """Vectors in the stored type; what overflows becomes infinite, and is set aside as such."""
    with np.errstate(over="ignore", invalid="ignore"):
        return vectors.astype(np.float16) if stored == "fp16" else vectors.astype(np.float32)


def finite_documents(vectors: npt.NDArray[np.floating], doc_ids: pa.ChunkedArray) -> Bool:
    """bool[n]: false for every passage of a document that has a non-finite vector.

    A document is in the index whole or not at all, so that the counts of documents add up.
    """
    bad = ~finite_rows(vectors)
    broken = pc.unique(doc_ids.filter(pa.array(bad)))
    whole: Bool = ~pc.is_in(doc_ids, value_set=broken).to_numpy()
    return whole


def _rejected(source: str, doc_ids: pa.ChunkedArray, bad: Bool) -> pa.Table:
    """One row a document; `row` is that of its first passage in the part."""
    first: dict[str, int] = {}
    for row in np.flatnonzero(bad):
        first.setdefault(doc_ids[row].as_py(), int(row))
    rows = [
        {"source": source, "row": row, "doc_id": doc_id, "stage": "embed", "reason": "not_finite"}
        for doc_id, row in first.items()
    ]
    return pa.Table.from_pylist(rows, REJECTED)
