"""locate: where in the index the judged documents lie, found in the parts' key files alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from shardrank.core.units import Done, FileRef, Unit, total
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.labels.tables import LOCATED
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import keys_spec, load_live_keys
from shardrank.version.manifest import Part

#: Parts whose keys one unit reads.
PARTS_PER_UNIT = 64
#: Where the documents that are looked for are listed.
WANTED = "units/wanted/{}.parquet"


def locate(
    context: Context, index: Workspace, parts: Sequence[Part], wanted: FileRef
) -> list[Done]:
    """One marker a run of parts: output "located" has LOCATED of those documents that are live.

    `wanted` is a table of the label's own workspace: doc_id, and whether it is positive.
    """
    units = [
        Unit(
            "locate",
            {"wanted": wanted.json(), "parts": [{"ordinal": n, **keys_spec(p)} for n, p in group]},
        )
        for group in _groups(list(enumerate(parts)))
    ]
    steps = [Step(partial(Locate, context.workspace, index))]
    return run_stage(context, "locate", units, steps)


def count_absent(
    context: Context, index: Workspace, parts: Sequence[Part], doc_ids: Collection[str]
) -> int:
    """How many of these documents are not live in the index."""
    names = sorted(doc_ids)
    wanted = pa.table({"doc_id": pa.array(names, pa.string()), "positive": [False] * len(names)})
    ref = context.workspace.write_content(WANTED, encode_table(wanted), wanted.num_rows)
    return len(names) - total(locate(context, index, parts, ref), "rows")


def _groups(numbered: list[tuple[int, Part]]) -> list[list[tuple[int, Part]]]:
    starts = range(0, len(numbered), PARTS_PER_UNIT)
    return [numbered[at : at + PARTS_PER_UNIT] for at in starts]


@dataclass(frozen=True)
class Locate:
    """A run of parts → the wanted documents in them."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        wanted = self.workspace.read_table(FileRef.parse(unit.spec["wanted"]))
        found = [self._find(spec, wanted) for spec in unit.spec["parts"]]
        table = pa.concat_tables([LOCATED.empty_table(), *found])
        ref = self.workspace.write_scratch(unit, "located.parquet", table)
        return Result({"located": ref}, {"rows": table.num_rows}, {})

    def _find(self, spec: dict[str, Any], wanted: pa.Table) -> pa.Table:
        live = load_live_keys(self.index, spec)
        mine = live.select(["doc_id", "row", "rows"]).join(wanted, "doc_id", join_type="inner")
        mine = mine.sort_by("row")
        ordinal = pa.array(np.full(mine.num_rows, spec["ordinal"], dtype=np.int32))
        columns = [mine["doc_id"], ordinal, mine["row"], mine["rows"], mine["positive"]]
        return pa.Table.from_arrays(columns, schema=LOCATED)


def read_located(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Table:
    """LOCATED of all units."""
    return pa.concat_tables([LOCATED.empty_table(), *(workspace.read_table(r) for r in refs)])
