"""Parts as the index floor wants them: checked, decoded, one at a time."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Bool, Float32, Int64
from shardrank.core.units import FileRef
from shardrank.corpus.part_keys import live_keys
from shardrank.index.blocks import PartBlock
from shardrank.stages.run.workspace import Workspace
from shardrank.version.liveness import unpack
from shardrank.version.manifest import Part


def part_spec(ordinal: int, part: Part) -> dict[str, Any]:
    """A part inside a unit's spec."""
    return {
        "ordinal": ordinal,
        "id": part.id,
        "passages": part.passages.json(),
        "vectors": part.vectors.json(),
        "deleted": part.deleted.json() if part.deleted else None,
    }


def keys_spec(part: Part) -> dict[str, Any]:
    """A part's documents inside a unit's spec: their keys, and which rows are deleted."""
    deleted = part.deleted.json() if part.deleted else None
    return {"keys": part.keys.json(), "deleted": deleted, "rows": part.rows}


def load_live_keys(workspace: Workspace, spec: Mapping[str, Any]) -> pa.Table:
    """PART_KEYS of the documents that are live, of a part as `keys_spec` names it."""
    keys = workspace.read_table(FileRef.parse(spec["keys"]))
    return live_keys(keys, read_bitmap(workspace, spec["deleted"], spec["rows"]))


def load_block(workspace: Workspace, spec: dict[str, Any]) -> PartBlock:
    """A part's ids and vectors. Raises IntegrityError where a file is not as vouched for."""
    passages = workspace.read_table(FileRef.parse(spec["passages"]), ["doc_id", "passage"])
    vectors = workspace.read_table(FileRef.parse(spec["vectors"]))
    live = ~read_bitmap(workspace, spec["deleted"], passages.num_rows)
    return PartBlock.from_tables(spec["ordinal"], passages, vectors, live)


def read_bitmap(workspace: Workspace, ref: Mapping[str, Any] | None, rows: int) -> Bool:
    """bool[rows], true at deleted rows."""
    if ref is None:
        return np.zeros(rows, np.bool_)
    return unpack(workspace.storage.read_checked(FileRef.parse(ref)), rows)


def load_blocks(workspace: Workspace, specs: Sequence[dict[str, Any]]) -> Iterator[PartBlock]:
    """A shard's parts in order; only one is held at a time."""
    return (load_block(workspace, spec) for spec in specs)


def offsets(specs: Sequence[dict[str, Any]]) -> list[int]:
    """The shard position of each part's first row."""
    ends = accumulate((spec["passages"]["rows"] for spec in specs), initial=0)
    return list(ends)[:-1]


def live_positions(workspace: Workspace, specs: Sequence[dict[str, Any]]) -> Bool | None:
    """bool[rows of the shard], true at live positions; None where all are."""
    if all(spec["deleted"] is None for spec in specs):
        return None
    dead = [read_bitmap(workspace, s["deleted"], s["passages"]["rows"]) for s in specs]
    return ~np.concatenate(dead)


def searchable(block: PartBlock, offset: int) -> tuple[Int64, Float32]:
    """Shard positions int64[m] and vectors float32[m, d] of the rows that may be found."""
    rows = np.flatnonzero(block.live)
    return rows.astype(np.int64) + offset, block.vectors[rows].astype(np.float32)
