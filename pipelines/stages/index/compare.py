"""compare: what the corpus changes in the index, one range of id hashes a unit.

No process ever holds all ids. What it finds is written for those who need it next: source rows to
skip by slice, removed documents by part, in files of GROUP slices or parts each.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.schemas import REJECTED
from shardrank.core.units import Done, FileRef, Unit, total
from shardrank.corpus.changes import Mode, compare
from shardrank.corpus.slices import Slice
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import keys_spec, load_live_keys
from shardrank.version.manifest import Part
from shardrank.version.sizing import KEYS_PER_RANGE

#: Slices, or parts, whose rows share an output file.
GROUP = 64


@dataclass(frozen=True)
class Compared:
    """The markers of all ranges, and what they say together."""

    dones: Sequence[Done]

    def count(self, name: str) -> int:
        """added, changed, unchanged, deleted, tombstones or superseded, over all ranges."""
        return total(self.dones, name)

    def taken(self, ordinal: int) -> int:
        """How many rows of a slice are to be ingested."""
        return sum(done.facts["taken"].get(str(ordinal), 0) for done in self.dones)

    def skips_of(self, ordinal: int) -> list[FileRef]:
        """The files that hold the slice's rows that are not ingested."""
        return self._outputs(f"skips-{ordinal // GROUP:05d}")

    def removed_of(self, group: int) -> list[FileRef]:
        """The files of removed documents of a group of parts."""
        return self._outputs(f"removed-{group:05d}")

    @property
    def removed(self) -> list[FileRef]:
        """All files of removed documents."""
        outputs = (item for done in self.dones for item in sorted(done.outputs.items()))
        return [ref for name, ref in outputs if name.startswith("removed-")]

    def _outputs(self, name: str) -> list[FileRef]:
        return [done.outputs[name] for done in self.dones if name in done.outputs]


@dataclass(frozen=True)
class Sides:
    """What is compared: the scanned slices, and the parts of the index (none: it is new)."""

    slices: Sequence[Slice]
    scans: Sequence[Done]
    parts: Sequence[Part]
    mode: Mode
    reuse: bool


def compare_corpus(context: Context, sides: Sides) -> Compared:
    """Compare ids and content hashes of all documents; one marker a range of id hashes."""
    units = plan_compare(sides)
    steps = [Step(partial(Compare, context.workspace))]
    return Compared(run_stage(context, "compare", units, steps))


def plan_compare(sides: Sides) -> list[Unit]:
    """One unit a range, as many as keep a range's keys in one process."""
    ids = total(sides.scans, "accepted") + sum(part.live.documents for part in sides.parts)
    ranges = max(1, math.ceil(ids / KEYS_PER_RANGE))
    common = {
        "scanned": [done.outputs["keys"].json() for done in sides.scans],
        "uris": [piece.uri for piece in sides.slices],
        "stored": [keys_spec(part) for part in sides.parts],
        "mode": sides.mode,
        "reuse": sides.reuse,
    }
    return [Unit("compare", {**common, "range": [i, ranges]}) for i in range(ranges)]


@dataclass(frozen=True)
class Compare:
    """A range of id hashes → skipped rows by slice, removed documents by part, duplicates."""

    workspace: Workspace

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        spec = unit.spec
        scanned = [(n, self._scanned(ref, spec["range"])) for n, ref in enumerate(spec["scanned"])]
        live = (load_live_keys(self.workspace, part) for part in spec["stored"])
        stored = [(n, _in_range(keys, spec["range"])) for n, keys in enumerate(live)]
        found = compare(scanned, stored, spec["mode"], spec["reuse"])
        rejected = _as_rejected(found.duplicates, spec["uris"])
        write = partial(self.workspace.write_scratch, unit)
        outputs = {
            name: write(f"{name}.parquet", table)
            for name, table in (
                *_grouped("skips", found.skips, "slice"),
                *_grouped("removed", found.removed, "part"),
                ("rejected", rejected),
            )
        }
        rows = sum(table.num_rows for _, table in scanned)
        counts = {"rows": rows, **found.counts, "rejected": rejected.num_rows}
        return Result(outputs, counts, {"taken": {str(n): c for n, c in found.taken.items()}})

    def _scanned(self, ref: dict[str, Any], number: Sequence[int]) -> pa.Table:
        return _in_range(self.workspace.read_table(FileRef.parse(ref)), number)


def _in_range(keys: pa.Table, number: Sequence[int]) -> pa.Table:
    """The keys whose hashes lie in range `number` of so many; they are sorted by hash.

    They are copied: a slice would keep all keys of the file in memory, and so those of all files.
    """
    place, ranges = number
    hashes, width = keys["id_hash"].to_numpy(), (1 << 64) // ranges
    begin = int(np.searchsorted(hashes, np.uint64(place * width)))
    last = place + 1 == ranges
    end = len(hashes) if last else int(np.searchsorted(hashes, np.uint64((place + 1) * width)))
    return keys.take(pa.array(np.arange(begin, end)))


def _grouped(name: str, table: pa.Table, column: str) -> Iterator[tuple[str, pa.Table]]:
    """The table cut by GROUP ordinals of a column by which it is sorted."""
    groups = Counter((table[column].to_numpy() // GROUP).tolist())
    begin = 0
    for group, rows in sorted(groups.items()):
        yield f"{name}-{group:05d}", table.slice(begin, rows)
        begin += rows


def _as_rejected(duplicates: pa.Table, uris: Sequence[str]) -> pa.Table:
    sources = pa.array(uris, pa.string()).take(duplicates["slice"].combine_chunks())
    columns = {
        "source": sources,
        "row": duplicates["row"],
        "doc_id": duplicates["doc_id"],
        "stage": pa.array(["compare"] * duplicates.num_rows, pa.string()),
        "reason": pa.array(["duplicate_id"] * duplicates.num_rows, pa.string()),
    }
    return pa.table(columns, schema=REJECTED)


def rows_of(workspace: Workspace, refs: Sequence[FileRef], column: str, ordinal: int) -> pa.Table:
    """The rows of one slice or part in files that `compare` grouped; there is at least one file."""
    tables = [workspace.read_table(ref) for ref in refs]
    return pa.concat_tables([t.filter(pc.equal(t[column], ordinal)) for t in tables])
