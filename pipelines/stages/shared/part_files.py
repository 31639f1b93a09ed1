"""A part's files: how they are named and written, and what a version says of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import vector_column
from shardrank.core.schemas import vectors_schema
from shardrank.core.units import FileRef
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.part_keys import count, lengths, live_keys, part_keys
from shardrank.stages.run.workspace import Workspace
from shardrank.version.gate import spread
from shardrank.version.liveness import pack
from shardrank.version.manifest import Counts, Part


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


def write_vectors(
    workspace: Workspace, passages: FileRef, vectors: npt.NDArray[np.floating], stored: str
) -> FileRef:
    """Vectors of the stored type as a file beside their passages."""
    schema = vectors_schema(vectors.shape[1], stored)
    table = pa.Table.from_arrays([vector_column(vectors)], schema=schema)
    key = passages.key.replace("passages.parquet", "vectors-{}.parquet")
    return workspace.write_content(key, encode_table(table), table.num_rows)


def write_bitmap(workspace: Workspace, deleted: Bool) -> FileRef:
    """The deleted rows of a part as a file."""
    return workspace.write_content("deletions/{}.bits", pack(deleted), len(deleted))


def part_facts(
    passages: pa.Table, vectors: npt.NDArray[np.floating], deleted: Bool
) -> dict[str, Any]:
    """What a version says of a part: what is live in it, its passages' lengths, its spread."""
    return {
        "live": asdict(count(live_keys(part_keys(passages), deleted))),
        "lengths": lengths(passages["tokens"]),
        "spread": spread(vectors[~deleted]),
    }


def new_part(files: PartFiles, outputs: Mapping[str, FileRef], facts: Mapping[str, Any]) -> Part:
    """The part of these files, with the vectors, deletions and facts that a marker vouches for."""
    return Part(
        id=files.passages.key.split("/")[1],
        passages=files.passages,
        keys=files.keys,
        vectors=outputs["vectors"],
        deleted=outputs.get("deleted"),
        live=Counts(**facts["live"]),
        lengths=facts["lengths"],
        spread=facts["spread"],
    )
