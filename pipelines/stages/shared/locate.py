"""locate: where in the index the judged documents lie, found in the parts' key files alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.units import Done, Stage, Unit, total
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.labels.tables import LOCATED
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartKeys, load_live_keys
from shardrank.version.parts import Part

#: Parts whose keys one unit reads.
PARTS_PER_UNIT = 64
#: Where the documents that are looked for are listed.
WANTED = "units/wanted/{}.parquet"


@dataclass(frozen=True)
class LocateSpec:
    """The documents that are looked for (doc_id, and whether it is positive), in some parts."""

    wanted: FileRef
    parts: tuple[PartKeys, ...]


@dataclass(frozen=True)
class Located:
    """LOCATED of those documents that are live."""

    located: FileRef


LOCATE = Stage("locate", LocateSpec, Located)
#: The stage's name where the documents are those that queries exclude.
LOCATE_EXCLUDED = "locate-excluded"


def locate(
    context: Context,
    index: Workspace,
    parts: Sequence[Part],
    wanted: FileRef,
    stage: str = LOCATE.name,
) -> list[Done[Located]]:
    """Where the documents of a table of the run's own workspace lie; a unit a run of parts."""
    keys = [PartKeys.of(ordinal, part) for ordinal, part in enumerate(parts)]
    groups = (keys[at : at + PARTS_PER_UNIT] for at in range(0, len(keys), PARTS_PER_UNIT))
    specs = [LocateSpec(wanted, tuple(group)) for group in groups]
    step = Step(partial(Locate, context.workspace, index))
    return run_stage(context, replace(LOCATE, name=stage), specs, [step])


def count_absent(
    context: Context,
    index: Workspace,
    parts: Sequence[Part],
    doc_ids: Collection[str],
    stage: str = LOCATE.name,
) -> int:
    """How many of these documents are not live in the index."""
    found = locate(context, index, parts, write_wanted(context.workspace, doc_ids), stage)
    return len(doc_ids) - total(found, "rows")


def write_wanted(workspace: Workspace, doc_ids: Collection[str]) -> FileRef:
    """Documents to be looked for, of which none is called positive."""
    names = sorted(doc_ids)
    wanted = pa.table({"doc_id": pa.array(names, pa.string()), "positive": [False] * len(names)})
    return workspace.write_content(WANTED, encode_table(wanted), wanted.num_rows)


@dataclass(frozen=True)
class Locate:
    """A run of parts → the wanted documents in them."""

    workspace: Workspace
    index: Workspace

    def __call__(self, unit: Unit[LocateSpec], tables: Tables) -> Result[Located]:
        wanted = self.workspace.read_table(unit.spec.wanted)
        found = [self._find(part, wanted) for part in unit.spec.parts]
        table = pa.concat_tables([LOCATED.empty_table(), *found])
        ref = self.workspace.write_scratch(unit, "located.parquet", table)
        return Result(Located(ref), {"rows": table.num_rows})

    def _find(self, part: PartKeys, wanted: pa.Table) -> pa.Table:
        live = load_live_keys(self.index, part)
        mine = live.select(["doc_id", "row", "rows"]).join(wanted, "doc_id", join_type="inner")
        mine = mine.sort_by("row")
        ordinal = pa.array(np.full(mine.num_rows, part.ordinal, dtype=np.int32))
        columns = [mine["doc_id"], ordinal, mine["row"], mine["rows"], mine["positive"]]
        return pa.Table.from_arrays(columns, schema=LOCATED)


def read_located(workspace: Workspace, refs: Sequence[FileRef]) -> pa.Table:
    """LOCATED of all units."""
    return pa.concat_tables([LOCATED.empty_table(), *(workspace.read_table(r) for r in refs)])
