"""scan: read every source row once, set the bad ones aside, and find ids that occur twice.

Two stages. *scan* (unit: a slice of a source file) validates rows and keeps the keys of the good
ones. *resolve* (unit: a range of id hashes) finds every occurrence of an id but the first, so
that no process ever holds all ids.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.settings import CorpusSettings
from pipelines.core.units import Done, FileRef, Unit, total
from pipelines.corpus.scan import duplicates, scan_slice
from pipelines.corpus.slices import Slice
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace
from pipelines.storage import open_source

#: Ids compared in one process.
KEYS_PER_RANGE = 4_000_000


@dataclass(frozen=True)
class Scanned:
    """The slices of a corpus, what scan vouches for in each, and where their duplicates are."""

    slices: Sequence[Slice]
    scans: Sequence[Done]
    duplicates: Sequence[Done]

    def duplicates_of(self, ordinal: int) -> list[FileRef]:
        """The files that name duplicates in one slice; most slices have none."""
        having = [d for d in self.duplicates if str(ordinal) in d.facts["slices"]]
        return [done.outputs["duplicates"] for done in having]


def scan(context: Context, slices: Sequence[Slice]) -> Scanned:
    """Validate every row of the corpus, and resolve duplicate ids."""
    units = plan_scan(slices, context.settings.corpus)
    scans = run_stage(context, "scan", units, [Step(partial(Scan, context.workspace))])
    ranges = plan_resolve(scans)
    resolved = run_stage(context, "resolve", ranges, [Step(partial(Resolve, context.workspace))])
    return Scanned(slices, scans, resolved)


def plan_scan(slices: Sequence[Slice], settings: CorpusSettings) -> list[Unit]:
    """One unit a slice."""
    deciding = settings.deciding()
    return [Unit("scan", {"slice": s.json(), "corpus": deciding}) for s in slices]


def plan_resolve(scans: Sequence[Done]) -> list[Unit]:
    """One unit per range of id hashes, as many as keep a range's keys in one process."""
    keys = [done.outputs["keys"].json() for done in scans]
    ranges = max(1, math.ceil(total(list(scans), "accepted") / KEYS_PER_RANGE))
    return [Unit("resolve", {"keys": keys, "range": [i, ranges]}) for i in range(ranges)]


@dataclass(frozen=True)
class Scan:
    """A slice → its keys, its rejected rows, and their counts."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        settings = CorpusSettings(**unit.spec["corpus"])
        found = scan_slice(Slice.parse(unit.spec["slice"]), open_source, settings)
        write, key = self.workspace.write_table, partial(self.workspace.scratch, unit)
        outputs = {
            "keys": write(key("keys.parquet"), found.keys),
            "rejected": write(key("rejected.parquet"), found.rejected),
        }
        accepted, rejected = found.keys.num_rows, found.rejected.num_rows
        counts = {"rows": found.rows, "accepted": accepted, "rejected": rejected}
        return Result(outputs, counts, {})


@dataclass(frozen=True)
class Resolve:
    """A range of id hashes → (slice, row, doc_id) of every occurrence but the first."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        keys = enumerate(FileRef.parse(ref) for ref in unit.spec["keys"])
        in_range = [(n, self._range(self.workspace.read_table(ref), unit)) for n, ref in keys]
        found = duplicates(in_range)
        key = self.workspace.scratch(unit, "duplicates.parquet")
        outputs = {"duplicates": self.workspace.write_table(key, found)}
        rows = sum(table.num_rows for _, table in in_range)
        return Result(outputs, {"rows": rows, "duplicates": found.num_rows}, _by_slice(found))

    def _range(self, keys: pa.Table, unit: Unit) -> pa.Table:
        number, ranges = unit.spec["range"]
        if ranges == 1:
            return keys
        width = (1 << 64) // ranges
        low, high = number * width, ((number + 1) * width if number + 1 < ranges else 1 << 64)
        above = pc.greater_equal(keys["id_hash"], pa.scalar(low, pa.uint64()))
        below = pc.less_equal(keys["id_hash"], pa.scalar(high - 1, pa.uint64()))
        return keys.filter(pc.and_(above, below))


def _by_slice(found: pa.Table) -> dict[str, Any]:
    counts = found["slice"].value_counts().to_pylist()
    return {"slices": {str(row["values"]): row["counts"] for row in counts}}
