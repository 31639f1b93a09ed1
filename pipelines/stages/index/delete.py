"""delete: removed documents become bits in the bitmaps of their parts, 64 parts a unit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.units import FileRef, Unit
from shardrank.corpus.part_keys import count
from shardrank.stages.index.compare import GROUP, Compared, rows_of
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import keys_spec, read_bitmap
from shardrank.stages.shared.part_files import write_bitmap
from shardrank.version.liveness import mark
from shardrank.version.manifest import Counts, Part


def delete(
    context: Context, parts: Sequence[Part], compared: Compared, spared: Sequence[FileRef]
) -> list[Part]:
    """The index's parts without what the comparison removed; their files stay as they are.

    `spared` are tables with a column doc_id: of those documents the stored form stays.
    """
    units = plan_delete(parts, compared, spared)
    dones = run_stage(context, "delete", units, [Step(partial(Delete, context.workspace))])
    left = list(parts)
    for done in dones:
        for name, removed in done.facts["removed"].items():
            part, gone = left[int(name)], Counts(**removed)
            bitmap = done.outputs[f"deleted-{int(name):05d}"]
            left[int(name)] = replace(part, deleted=bitmap, live=part.live - gone)
    return left


def plan_delete(parts: Sequence[Part], compared: Compared, spared: Sequence[FileRef]) -> list[Unit]:
    """One unit a group of parts that lose documents."""
    groups = range(0, len(parts), GROUP)
    common = {"spared": [ref.json() for ref in spared]}
    units = []
    for number, begin in enumerate(groups):
        removed = compared.removed_of(number)
        if removed:
            members = enumerate(parts[begin : begin + GROUP], begin)
            spec = {str(ordinal): keys_spec(part) for ordinal, part in members}
            refs = [ref.json() for ref in removed]
            units.append(Unit("delete", {"parts": spec, "removed": refs, **common}))
    return units


@dataclass(frozen=True)
class Delete:
    """A group of parts → new bitmaps of those that lose documents, and how much they lose."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        refs = [FileRef.parse(ref) for ref in unit.spec["removed"]]
        spared = read_ids(self.workspace, [FileRef.parse(ref) for ref in unit.spec["spared"]])
        outputs: dict[str, FileRef] = {}
        removed: dict[str, dict[str, int]] = {}
        for name, spec in unit.spec["parts"].items():
            gone = rows_of(self.workspace, refs, "part", int(name))
            gone = gone.filter(pc.invert(pc.is_in(gone["doc_id"], value_set=spared)))
            if gone.num_rows:
                outputs[f"deleted-{int(name):05d}"] = self._mark(spec, gone)
                removed[name] = asdict(count(gone))
        rows = sum(counts["passages"] for counts in removed.values())
        return Result(outputs, {"rows": rows}, {"removed": removed})

    def _mark(self, spec: Mapping[str, Any], gone: pa.Table) -> FileRef:
        before = read_bitmap(self.workspace, spec["deleted"], spec["rows"])
        starts, counts = (gone[name].to_numpy().astype(np.int64) for name in ("row", "rows"))
        return write_bitmap(self.workspace, mark(before, starts, counts))


def read_ids(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Array:
    """The column doc_id of some tables."""
    chunks = [c for ref in refs for c in workspace.read_table(ref, ["doc_id"])["doc_id"].chunks]
    return pa.concat_arrays(chunks or [pa.array([], pa.string())])
