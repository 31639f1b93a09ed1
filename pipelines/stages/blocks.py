"""Parts as the index floor wants them: checked, decoded, one at a time."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from pipelines.core.protocols import Float32, Int64
from pipelines.core.units import FileRef
from pipelines.core.version import Part
from pipelines.index.blocks import PartBlock
from pipelines.stages.workspace import Workspace


def part_spec(ordinal: int, part: Part) -> dict[str, Any]:
    """A part inside a unit's spec."""
    return {
        "ordinal": ordinal,
        "id": part.id,
        "passages": part.passages.json(),
        "vectors": part.vectors.json(),
    }


def load_block(workspace: Workspace, spec: dict[str, Any]) -> PartBlock:
    """A part's ids and vectors. Raises IntegrityError where a file is not as vouched for."""
    passages = workspace.read_table(FileRef.parse(spec["passages"]), ["doc_id", "passage"])
    vectors = workspace.read_table(FileRef.parse(spec["vectors"]))
    return PartBlock.from_tables(spec["ordinal"], passages, vectors)


def load_blocks(workspace: Workspace, specs: Sequence[dict[str, Any]]) -> Iterator[PartBlock]:
    """A shard's parts in order; only one is held at a time."""
    return (load_block(workspace, spec) for spec in specs)


def offsets(specs: Sequence[dict[str, Any]]) -> list[int]:
    """The shard position of each part's first row."""
    ends = accumulate((spec["passages"]["rows"] for spec in specs), initial=0)
    return list(ends)[:-1]


def searchable(block: PartBlock, offset: int) -> tuple[Int64, Float32]:
    """Shard positions int64[m] and vectors float32[m, d] of the rows that may be found."""
    rows = np.flatnonzero(block.ok)
    return rows.astype(np.int64) + offset, block.vectors[rows].astype(np.float32)
