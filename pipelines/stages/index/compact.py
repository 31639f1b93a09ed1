"""compact: groups of parts become one part each, from what is stored; nothing is embedded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Bool
from shardrank.core.arrow_columns import matrix
from shardrank.core.units import Done, FileRef, Unit
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import read_bitmap
from shardrank.stages.shared.part_files import (
    PartFiles,
    new_part,
    part_facts,
    write_part,
    write_vectors,
)
from shardrank.version.manifest import Part


def compact(
    context: Context, parts: Sequence[Part], groups: Sequence[Sequence[int]]
) -> list[Part | None]:
    """The part that each group becomes; None where nothing in it is live."""
    units = [Unit("compact", {"parts": [_spec(parts[n]) for n in group]}) for group in groups]
    dones = run_stage(context, "compact", units, [Step(partial(Compact, context.workspace))])
    return [_part(done) for done in dones]


def _spec(part: Part) -> dict[str, Any]:
    deleted = part.deleted.json() if part.deleted else None
    return {
        "passages": part.passages.json(),
        "vectors": part.vectors.json(),
        "deleted": deleted,
        "live": part.live.documents,
    }


def _part(done: Done) -> Part | None:
    if "part" not in done.outputs:
        return None
    files = PartFiles(done.outputs["part"], done.outputs["keys"])
    return new_part(files, done.outputs, done.facts)


@dataclass(frozen=True)
class Compact:
    """Parts → one part of their live rows, with the same vectors to the bit."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        pieces = [self._live(spec) for spec in unit.spec["parts"] if spec["live"]]
        if not pieces:
            return Result({}, {"rows": 0}, {})
        passages = pa.concat_tables([table for table, _ in pieces]).combine_chunks()
        vectors = np.concatenate([array for _, array in pieces])
        files = write_part(self.workspace, passages)
        stored = "fp16" if vectors.dtype == np.float16 else "fp32"
        outputs = {
            "part": files.passages,
            "keys": files.keys,
            "vectors": write_vectors(self.workspace, files.passages, vectors, stored),
        }
        deleted: Bool = np.zeros(len(vectors), np.bool_)
        return Result(outputs, {"rows": len(vectors)}, part_facts(passages, vectors, deleted))

    def _live(self, spec: dict[str, Any]) -> tuple[pa.Table, npt.NDArray[np.floating]]:
        passages = self.workspace.read_table(FileRef.parse(spec["passages"]))
        column = self.workspace.read_table(FileRef.parse(spec["vectors"]))["vector"]
        live = ~read_bitmap(self.workspace, spec["deleted"], passages.num_rows)
        vectors = matrix(column).astype(column.type.value_type.to_pandas_dtype())
        return passages.filter(pa.array(live)), vectors[live]
