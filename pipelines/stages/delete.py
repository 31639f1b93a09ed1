"""delete: removed documents become bits in the bitmaps of their parts, 64 parts a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.core.liveness import mark
from pipelines.core.units import FileRef, Unit
from pipelines.core.version import Counts, Part
from pipelines.corpus.keys import count
from pipelines.stages.blocks import read_bitmap
from pipelines.stages.compare import GROUP, Compared, rows_of
from pipelines.stages.parts import write_bitmap
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace


def delete(context: Context, parts: Sequence[Part], compared: Compared) -> list[Part]:
    """The index's parts without what the comparison removed; their files stay as they are."""
    units = plan_delete(parts, compared)
    dones = run_stage(context, "delete", units, [Step(partial(Delete, context.workspace))])
    left = list(parts)
    for done in dones:
        for name, removed in done.facts["removed"].items():
            part, gone = left[int(name)], Counts(**removed)
            bitmap = done.outputs[f"deleted-{int(name):05d}"]
            left[int(name)] = replace(part, deleted=bitmap, live=part.live - gone)
    return left


def plan_delete(parts: Sequence[Part], compared: Compared) -> list[Unit]:
    """One unit a group of parts that lose documents."""
    groups = range(0, len(parts), GROUP)
    units = []
    for number, begin in enumerate(groups):
        removed = compared.removed_of(number)
        if removed:
            members = enumerate(parts[begin : begin + GROUP], begin)
            spec = {str(ordinal): _spec(part) for ordinal, part in members}
            units.append(Unit("delete", {"parts": spec, "removed": [r.json() for r in removed]}))
    return units


def _spec(part: Part) -> dict[str, Any]:
    return {"rows": part.rows, "deleted": part.deleted.json() if part.deleted else None}


@dataclass(frozen=True)
class Delete:
    """A group of parts → new bitmaps of those that lose documents, and how much they lose."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        refs = [FileRef.parse(ref) for ref in unit.spec["removed"]]
        outputs: dict[str, FileRef] = {}
        removed: dict[str, dict[str, int]] = {}
        for name, spec in unit.spec["parts"].items():
            gone = rows_of(self.workspace, refs, "part", int(name))
            if gone.num_rows:
                outputs[f"deleted-{int(name):05d}"] = self._mark(spec, gone)
                removed[name] = asdict(count(gone))
        rows = sum(counts["passages"] for counts in removed.values())
        return Result(outputs, {"rows": rows}, {"removed": removed})

    def _mark(self, spec: Mapping[str, Any], gone: pa.Table) -> FileRef:
        before = read_bitmap(self.workspace, spec["deleted"], spec["rows"])
        starts, counts = (gone[name].to_numpy().astype(np.int64) for name in ("row", "rows"))
        return write_bitmap(self.workspace, mark(before, starts, counts))
