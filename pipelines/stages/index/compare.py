"""compare: what the corpus changes in the index, one range of id hashes a unit.

No process ever holds all ids. What it finds is written for those who need it next: source rows to
skip by slice, removed documents by part, in files of GROUP slices or parts each.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.files import FileRef
from shardrank.core.schemas import REJECTED
from shardrank.core.units import Done, Stage, Unit, total
from shardrank.corpus.changes import Mode, compare
from shardrank.corpus.slices import Slice
from shardrank.stages.index.scan import Scanned
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_blocks import PartKeys, load_live_keys
from shardrank.version.parts import Part
from shardrank.version.sizing import KEYS_PER_RANGE

#: Slices, or parts, whose rows share an output file.
GROUP = 64


@dataclass(frozen=True)
class IdRange:
    """The place of a range of id hashes among so many of equal width."""

    place: int
    ranges: int


@dataclass(frozen=True)
class CompareSpec:
    """A range of ids, and all that is compared; `uris` and `scanned` are of the slices in order,
    `due` parts of which nothing serves."""

    scanned: tuple[FileRef, ...]
    uris: tuple[str, ...]
    stored: tuple[PartKeys, ...]
    mode: Mode
    due: tuple[int, ...]
    range: IdRange


@dataclass(frozen=True)
class Grouped:
    """Rows of the slices, or parts, of one group: `number` · GROUP and those that follow."""

    number: int
    rows: FileRef


@dataclass(frozen=True)
class TakenRows:
    """How many rows of a slice are to be ingested."""

    slice: int
    rows: int


@dataclass(frozen=True)
class ComparedRange:
    """What a range changes: source rows to skip, removed documents, REJECTED duplicates."""

    skips: tuple[Grouped, ...]
    removed: tuple[Grouped, ...]
    rejected: FileRef
    taken: tuple[TakenRows, ...]


COMPARE = Stage("compare", CompareSpec, ComparedRange)


@dataclass(frozen=True)
class Compared:
    """The markers of all ranges, and what they say together."""

    dones: Sequence[Done[ComparedRange]]

    def count(self, name: str) -> int:
        """added, changed, backfilled, unchanged, deleted, tombstones or superseded, over all
        ranges."""
        return total(self.dones, name)

    def taken(self, ordinal: int) -> int:
        """How many rows of a slice are to be ingested."""
        return self._taken[ordinal]

    def skips_of(self, ordinal: int) -> list[FileRef]:
        """The files that hold the slice's rows that are not ingested."""
        return self._skips[ordinal // GROUP]

    def removed_of(self, group: int) -> list[FileRef]:
        """The files of removed documents of a group of parts."""
        return [each.rows for each in self._removed if each.number == group]

    @property
    def removed(self) -> list[FileRef]:
        """All files of removed documents."""
        return [each.rows for each in self._removed]

    @cached_property
    def _taken(self) -> Counter[int]:
        taken: Counter[int] = Counter()
        for done in self.dones:
            taken.update({each.slice: each.rows for each in done.made.taken})
        return taken

    @cached_property
    def _skips(self) -> Mapping[int, list[FileRef]]:
        skips: defaultdict[int, list[FileRef]] = defaultdict(list)
        for done in self.dones:
            for each in done.made.skips:
                skips[each.number].append(each.rows)
        return skips

    @property
    def _removed(self) -> list[Grouped]:
        return [each for done in self.dones for each in done.made.removed]


@dataclass(frozen=True)
class Sides:
    """What is compared: the scanned slices, and the parts of the index (none: it is new), of some
    of which nothing serves."""

    slices: Sequence[Slice]
    scans: Sequence[Done[Scanned]]
    parts: Sequence[Part]
    mode: Mode
    due: Sequence[int]


def compare_corpus(context: Context, sides: Sides) -> Compared:
    """Compare ids and content hashes of all documents; one marker a range of id hashes."""
    steps = [Step(partial(Compare, context.workspace))]
    return Compared(run_stage(context, COMPARE, plan_compare(sides), steps))


def plan_compare(sides: Sides) -> list[CompareSpec]:
    """One unit a range, as many as keep a range's keys in one process."""
    ids = total(sides.scans, "accepted") + sum(part.live.documents for part in sides.parts)
    ranges = max(1, math.ceil(ids / KEYS_PER_RANGE))
    whole = CompareSpec(
        scanned=tuple(done.made.keys for done in sides.scans),
        uris=tuple(piece.uri for piece in sides.slices),
        stored=tuple(PartKeys.of(n, part) for n, part in enumerate(sides.parts)),
        mode=sides.mode,
        due=tuple(sides.due),
        range=IdRange(0, ranges),
    )
    return [replace(whole, range=IdRange(place, ranges)) for place in range(ranges)]


@dataclass(frozen=True)
class Compare:
    """A range of id hashes → skipped rows by slice, removed documents by part, duplicates."""

    workspace: Workspace

    def __call__(self, unit: Unit[CompareSpec], tables: Tables) -> Result[ComparedRange]:
        spec = unit.spec
        read = (self.workspace.read_table(ref) for ref in spec.scanned)
        scanned = [(n, _in_range(keys, spec.range)) for n, keys in enumerate(read)]
        live = (load_live_keys(self.workspace, part) for part in spec.stored)
        stored = [(n, _in_range(keys, spec.range)) for n, keys in enumerate(live)]
        found = compare(scanned, stored, spec.mode, spec.due)
        rejected = _as_rejected(found.duplicates, spec.uris)
        made = ComparedRange(
            skips=self._grouped(unit, "skips", found.skips, "slice"),
            removed=self._grouped(unit, "removed", found.removed, "part"),
            rejected=self.workspace.write_scratch(unit, "rejected.parquet", rejected),
            taken=tuple(TakenRows(n, rows) for n, rows in sorted(found.taken.items())),
        )
        rows = sum(table.num_rows for _, table in scanned)
        return Result(made, {"rows": rows, **found.counts, "rejected": rejected.num_rows})

    def _grouped(
        self, unit: Unit[CompareSpec], name: str, table: pa.Table, column: str
    ) -> tuple[Grouped, ...]:
        """The table in a file for each GROUP ordinals of a column by which it is sorted."""
        return tuple(
            Grouped(group, self.workspace.write_scratch(unit, f"{name}-{group:05d}.parquet", rows))
            for group, rows in _groups(table, column)
        )


def _in_range(keys: pa.Table, wanted: IdRange) -> pa.Table:
    """The keys whose hashes lie in the range; they are sorted by hash.

    They are copied: a slice would keep all keys of the file in memory, and so those of all files.
    """
    place, ranges = wanted.place, wanted.ranges
    hashes, width = keys["id_hash"].to_numpy(), (1 << 64) // ranges
    begin = int(np.searchsorted(hashes, np.uint64(place * width)))
    last = place + 1 == ranges
    end = len(hashes) if last else int(np.searchsorted(hashes, np.uint64((place + 1) * width)))
    return keys.take(pa.array(np.arange(begin, end)))


def _groups(table: pa.Table, column: str) -> Iterator[tuple[int, pa.Table]]:
    groups = Counter((table[column].to_numpy() // GROUP).tolist())
    begin = 0
    for group, rows in sorted(groups.items()):
        yield group, table.slice(begin, rows)
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
