"""A part's files: how they are named and written, and what a version says of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.schemas import column_schema
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.part_keys import count, lengths, live_keys, part_keys
from shardrank.stages.run.workspace import Workspace, content_name
from shardrank.version.gate import spread
from shardrank.version.liveness import pack
from shardrank.version.parts import Part, StoredColumn


@dataclass(frozen=True)
class PartFiles:
    """What there is of a part before it has columns."""

    passages: FileRef
    keys: FileRef
    pictures: FileRef | None = None


def write_part(
    workspace: Workspace, passages: pa.Table, pictures: pa.Table | None = None
) -> PartFiles:
    """A part's passages, keys and pictures (PICTURES), in a folder named from the passages'
    content, which holds hashes of the pictures."""
    key = "parts/{}/passages.parquet"
    ref = workspace.write_content(key, encode_table(passages), passages.num_rows)
    beside = ref.key.replace("passages.parquet", "keys.parquet")
    keys = workspace.write_table(beside, part_keys(passages))
    if pictures is None:
        return PartFiles(ref, keys)
    beside = ref.key.replace("passages.parquet", "pictures-{}.parquet")
    shown = workspace.write_content(beside, encode_table(pictures), pictures.num_rows)
    return PartFiles(ref, keys, shown)


def write_column(
    workspace: Workspace, passages: FileRef, name: str, values: pa.Array, live: Bool
) -> StoredColumn:
    """A column's values as a file beside its passages, row by row; of vectors the live ones say how
    they are spread."""
    table = pa.table([values], column_schema(values.type))
    key = passages.key.replace("passages.parquet", f"{name}-{{}}.parquet")
    ref = workspace.write_content(key, encode_table(table), table.num_rows)
    dense = pa.types.is_fixed_size_list(values.type)
    return StoredColumn(ref, spread(matrix(table["vector"])[live]) if dense else None)


def write_bitmap(workspace: Workspace, deleted: Bool) -> FileRef:
    """The deleted rows of a part as a file."""
    return workspace.write_content("deletions/{}.bits", pack(deleted), len(deleted))


def new_part(
    workspace: Workspace,
    files: PartFiles,
    passages: pa.Table,
    columns: Mapping[str, pa.Array],
    deleted: Bool,
) -> Part:
    """Write the columns and deletions of a part, and say what a version says of it.

    Args:
        workspace: of the index.
        files: what there is of it.
        passages: its passages: doc_id, content_hash, tokens and truncated of each.
        columns: a value of each passage, as it is stored, by the columns' names.
        deleted: bool[n].
    """
    ref = files.passages
    return Part(
        id=content_name(ref),
        passages=ref,
        keys=files.keys,
        columns={
            name: write_column(workspace, ref, name, values, ~deleted)
            for name, values in columns.items()
        },
        deleted=write_bitmap(workspace, deleted) if deleted.any() else None,
        live=count(live_keys(part_keys(passages), deleted)),
        lengths=lengths(passages["tokens"]),
        pictures=files.pictures,
    )
