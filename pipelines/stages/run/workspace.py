"""Where a flow keeps its units' markers: data first, marker last, found again after a crash."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from typing import Any, cast

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.fingerprint import canonical_json, sha256_hex
from shardrank.core.protocols import Storage
from shardrank.core.settings import Settings
from shardrank.core.units import Done, FileRef, Unit
from shardrank.corpus.parquet_bytes import decode_table, encode_table
from shardrank.storage import contains, open_storage

#: Markers read at once: in S3 each costs a round trip.
READERS = 16


@dataclass(frozen=True)
class Workspace:
    """An INDEX or an OUT: its storage, and the tables and markers in it. Travels to workers."""

    storage: Storage

    def read_table(self, ref: FileRef, columns: list[str] | None = None) -> pa.Table:
        """A checked table. Raises IntegrityError where the file is not what `ref` vouches for."""
        return decode_table(self.storage.read_checked(ref), columns)

    def write_table(self, key: str, table: pa.Table) -> FileRef:
        return self.storage.write(key, encode_table(table), rows=table.num_rows)

    def write_pieces(self, key: str, pieces: Iterable[bytes], rows: int) -> FileRef:
        """A file made piece by piece: they go through this machine's disk, not its memory."""
        with TemporaryFile() as spool:
            for piece in pieces:
                spool.write(piece)
            if not spool.tell():
                return self.storage.write(key, b"", rows)
            spool.flush()
            with mmap(spool.fileno(), 0, access=ACCESS_READ) as data:
                return self.storage.write(key, cast(bytes, data), rows)

    def write_content(self, key: str, data: bytes, rows: int) -> FileRef:
        """Bytes under a key with `{}` where the start of their sha256 goes.

        What versions list is named so: made again with other bytes (another CPU, a GPU), it gets
        another name, and never changes a file that a version vouches for.
        """
        return self.storage.write(key.format(sha256_hex(data)[:20]), data, rows)

    def write_scratch(self, unit: Unit, name: str, table: pa.Table) -> FileRef:
        """A table that only this unit's successors read."""
        return self.write_table(f"units/{unit.stage}/{unit.id}.{name}", table)

    def find(self, units: Iterable[Unit]) -> dict[str, Done]:
        """The finished ones, by unit id: the marker reads, and every output has its length."""
        units = list(units)
        stages = {unit.stage for unit in units}
        marked = {e.key for stage in stages for e in self.storage.list(f"units/{stage}")}
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(self._marker, (u for u in units if _marker_key(u) in marked)))
        sizes = self._sizes(done for done in found if done)
        return {done.unit: done for done in found if done and _whole(done, sizes)}

    def finish(self, unit: Unit, result: "Result", started: float) -> Done:
        """Write the marker: from now on the unit is done."""
        seconds = round(time.time() - started, 3)
        done = Done(unit.id, result.outputs, result.counts, result.facts, seconds)
        self.storage.write(_marker_key(unit), done.to_bytes())
        return done

    def forget(self, stage: str, dones: Iterable[Done]) -> None:
        """Take the markers away: the units are run again when they are next wanted."""
        for done in dones:
            self.storage.delete(f"units/{stage}/{done.unit}.json")

    def read_json(self, key: str) -> Any:
        return json.loads(self.storage.read(key))

    def read_unchecked(self, key: str) -> pa.Table:
        """A table that nothing vouches for (people read it, no stage does)."""
        return decode_table(self.storage.read(key))

    def write_json(self, key: str, value: Any) -> FileRef:
        return self.storage.write(key, canonical_json(value))

    def _marker(self, unit: Unit) -> Done | None:
        """None where the marker is damaged: the unit is then simply not done."""
        try:
            return Done.parse(self.read_json(_marker_key(unit)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _sizes(self, dones: Iterable[Done]) -> dict[str, int]:
        """Bytes of every file beside the outputs, by one listing of each top folder."""
        folders = {ref.key.split("/")[0] for done in dones for ref in done.outputs.values()}
        return {e.key: e.bytes for folder in folders for e in self.storage.list(folder)}


def open_workspace(path: str, settings: Settings) -> Workspace:
    """What lies below a folder or s3://bucket/prefix. Raises InputError for another scheme."""
    return Workspace(open_storage(path, settings.s3))


def refuse_same(one: str, one_name: str, other: str, other_name: str) -> None:
    """Raise InputError where both are one place: their records would mix."""
    if contains(one, other) and contains(other, one):
        raise InputError(
            f"{one_name} and {other_name} are the same place: {one}.", "Give each its own."
        )


@dataclass(frozen=True)
class StoredTables:
    """Tables of one kind, read one by one and anew each time that they are walked."""

    workspace: Workspace
    refs: Sequence[FileRef]
    columns: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[pa.Table]:
        wanted = None if self.columns is None else list(self.columns)
        return (self.workspace.read_table(ref, wanted) for ref in self.refs)

    def only(self, *columns: str) -> "StoredTables":
        """The same files, of which only these columns are read."""
        return replace(self, columns=columns)


@dataclass(frozen=True)
class Result:
    """What a unit's last step hands over: files written, counts that reconcile, other facts."""

    outputs: Mapping[str, FileRef]
    counts: Mapping[str, int]
    facts: Mapping[str, Any]


def _whole(done: Done, sizes: Mapping[str, int]) -> bool:
    return all(sizes.get(ref.key) == ref.bytes for ref in done.outputs.values())


def _marker_key(unit: Unit) -> str:
    return f"units/{unit.stage}/{unit.id}.json"
