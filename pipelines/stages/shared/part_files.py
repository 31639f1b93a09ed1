"""A part's files: how they are named and written, and what a version says of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import vector_column
from shardrank.core.files import FileRef
from shardrank.core.schemas import vectors_schema
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.part_keys import count, lengths, live_keys, part_keys
from shardrank.stages.run.workspace import Workspace, content_name
from shardrank.version.gate import spread
from shardrank.version.liveness import pack
from shardrank.version.manifest import DENSE, Part, StoredColumn


@dataclass(frozen=True)
class PartFiles:
    """What there is of a part before it has vectors."""

    passages: FileRef
    keys: FileRef


def write_part(workspace: Workspace, passages: pa.Table) -> PartFiles:
    """A part's passages and keys, in a folder named from the passages' content."""
    key = "parts/{}/passages.parquet"
    ref = workspace.write_content(key, encode_table(passages), passages.num_rows)
    beside = ref.key.replace("passages.parquet", "keys.parquet")
    return PartFiles(ref, workspace.write_table(beside, part_keys(passages)))


def _write_vectors(
    workspace: Workspace, passages: FileRef, vectors: npt.NDArray[np.floating]
) -> FileRef:
    """As a file beside their passages."""
    stored = "fp16" if vectors.dtype == np.float16 else "fp32"
    schema = vectors_schema(vectors.shape[1], stored)
    table = pa.Table.from_arrays([vector_column(vectors)], schema=schema)
    key = passages.key.replace("passages.parquet", "vectors-{}.parquet")
    return workspace.write_content(key, encode_table(table), table.num_rows)


def write_bitmap(workspace: Workspace, deleted: Bool) -> FileRef:
    """The deleted rows of a part as a file."""
    return workspace.write_content("deletions/{}.bits", pack(deleted), len(deleted))


def new_part(
    workspace: Workspace,
    files: PartFiles,
    passages: pa.Table,
    vectors: npt.NDArray[np.floating],
    deleted: Bool,
) -> Part:
    """Write the vectors and deletions of a part, and say what a version says of it.

    Args:
        workspace: of the index.
        files: what there is of it.
        passages: its passages: doc_id, content_hash, tokens and truncated of each.
        vectors: fp16 or fp32[n, d], in the type that they are stored in.
        deleted: bool[n].
    """
    return Part(
        id=content_name(files.passages),
        passages=files.passages,
        keys=files.keys,
        columns={DENSE: _column(workspace, files.passages, vectors, deleted)},
        deleted=write_bitmap(workspace, deleted) if deleted.any() else None,
        live=count(live_keys(part_keys(passages), deleted)),
        lengths=lengths(passages["tokens"]),
    )


def _column(
    workspace: Workspace, passages: FileRef, vectors: npt.NDArray[np.floating], deleted: Bool
) -> StoredColumn:
    return StoredColumn(
        _write_vectors(workspace, passages, vectors), spread=spread(vectors[~deleted])
    )
