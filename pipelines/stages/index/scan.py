"""scan: read every source row once, keep the keys of good rows, set the bad ones aside."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from shardrank.core.errors import InputError
from shardrank.core.files import FileRef
from shardrank.core.settings import CorpusSettings
from shardrank.core.settings_base import DECIDING
from shardrank.core.units import Done, Stage, Unit
from shardrank.corpus.first_pass import scan_slice
from shardrank.corpus.slices import Slice
from shardrank.corpus.sniff import unreadable_file
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.storage import Sources

_ORDERS = {"n": "numbers", "i": "times", "t": "texts"}


@dataclass(frozen=True)
class ScanSpec:
    """A slice, and how its rows are read."""

    slice: Slice
    corpus: Annotated[CorpusSettings, DECIDING]


@dataclass(frozen=True)
class Scanned:
    """What a slice holds.

    Attributes:
        keys: DOCUMENT_KEYS.
        rejected: REJECTED.
        names: of the columns that rows of JSON Lines gave.
        orders: of which kinds the values of the column are that orders rows: see _ORDERS.
    """

    keys: FileRef
    rejected: FileRef
    names: tuple[str, ...]
    orders: tuple[str, ...]


SCAN = Stage("scan", ScanSpec, Scanned)


def scan(context: Context, slices: Sequence[Slice]) -> list[Done[Scanned]]:
    """Validate every row of the corpus; a unit a slice."""
    specs = [ScanSpec(piece, context.settings.corpus) for piece in slices]
    make = partial(Scan, context.workspace, Sources(context.settings.s3))
    dones = run_stage(context, SCAN, specs, [Step(make)])
    _refuse_mixed_orders(slices, dones, context.settings.corpus)
    return dones


def _refuse_mixed_orders(
    slices: Sequence[Slice], dones: Sequence[Done[Scanned]], settings: CorpusSettings
) -> None:
    """Numbers, times and texts have no common order: to mix them is to choose rows by chance."""
    first = {kind: s.uri for s, d in zip(slices, dones, strict=True) for kind in d.made.orders}
    if len(first) > 1:
        found = " and ".join(f"{_ORDERS[kind]} ({uri})" for kind, uri in sorted(first.items()))
        raise InputError(
            f"corpus.order: column {settings.order!r} holds {found}.",
            "Write it the same way in all files, or name another: --set corpus.order=NAME.",
        )


@dataclass(frozen=True)
class Scan:
    """A slice → its keys, its rejected rows, and their counts."""

    workspace: Workspace
    sources: Sources

    def __call__(self, unit: Unit[ScanSpec], tables: Tables) -> Result[Scanned]:
        found = scan_slice(unit.spec.slice, self.sources.open, unit.spec.corpus)
        write = partial(self.workspace.write_scratch, unit)
        accepted, rejected = found.keys.num_rows, found.rejected.num_rows
        counts = {
            "rows": found.rows,
            "accepted": accepted,
            "rejected": rejected,
            "unreadable": found.unreadable,
        }
        made = Scanned(
            keys=write("keys.parquet", found.keys),
            rejected=write("rejected.parquet", found.rejected),
            names=tuple(found.names),
            orders=tuple(found.orders),
        )
        return Result(made, counts)


def refuse_unreadable(
    slices: Sequence[Slice], scans: Sequence[Done[Scanned]], sources: Sources
) -> None:
    """Raise InputError where no row of a file that has any could be read.

    Its documents are not known, so a snapshot would delete them.
    """
    rows, unreadable = Counter[str](), Counter[str]()
    for piece, done in zip(slices, scans, strict=True):
        rows[piece.uri] += done.counts["rows"]
        unreadable[piece.uri] += done.counts["unreadable"]
    bad = {piece.uri: piece for piece in slices if 0 < rows[piece.uri] == unreadable[piece.uri]}
    if not bad:
        return
    uri, piece = next(iter(bad.items()))
    raise unreadable_file(uri, rows[uri], sources.open, piece.version, others=len(bad) - 1)


def names_of(scans: Sequence[Done[Scanned]]) -> set[str]:
    """The names of columns that the rows of JSON Lines gave."""
    return {name for done in scans for name in done.made.names}
