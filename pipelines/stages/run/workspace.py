"""Where a flow keeps its units' markers: data first, marker last, found again after a crash."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from typing import Any, Generic, cast

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json, sha256_hex
from shardrank.core.papers import files_in
from shardrank.core.protocols import Storage
from shardrank.core.settings import Settings
from shardrank.core.units import Done, Made, Spec, Stage, Unit, done_json, read_done
from shardrank.corpus.parquet_bytes import decode_table, encode_table
from shardrank.storage import open_storage

#: Markers read at once: in S3 each costs a round trip.
READERS = 16


#: Hex digits of its sha256 that name a file from its content.
NAME_DIGITS = 20


def content_name(ref: FileRef) -> str:
    """What `Workspace.write_content` put into the file's key."""
    return ref.sha256[:NAME_DIGITS]


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
        return self.storage.write(key.format(sha256_hex(data)[:NAME_DIGITS]), data, rows)

    def write_scratch(self, unit: Unit[Any], name: str, table: pa.Table) -> FileRef:
        """A table that only this unit's successors read."""
        return self.write_table(f"units/{unit.stage}/{unit.id}.{name}", table)

    def find(self, stage: Stage[Spec, Made], units: Iterable[Unit[Spec]]) -> dict[str, Done[Made]]:
        """The finished ones, by unit id: the marker reads, and every file in it has its length."""
        marked = {entry.key for entry in self.storage.list(f"units/{stage.name}")}
        keys = (key for unit in units if (key := marker_key(unit.stage, unit.id)) in marked)
        with ThreadPoolExecutor(READERS) as pool:
            found = [done for done in pool.map(partial(self._marker, stage), keys) if done]
        files = {done.unit: list(files_in(done.made)) for done in found}
        sizes = self._sizes(chain.from_iterable(files.values()))
        return {done.unit: done for done in found if _whole(files[done.unit], sizes)}

    def finish(self, unit: Unit[Any], result: "Result[Made]", started: float) -> Done[Made]:
        """Write the marker: from now on the unit is done."""
        seconds = round(time.time() - started, 3)
        done = Done(unit.id, result.made, result.counts, seconds)
        self.storage.write(marker_key(unit.stage, unit.id), canonical_json(done_json(done)))
        return done

    def forget(self, stage: str, dones: Iterable[Done[Any]]) -> None:
        """Take the markers away: the units are run again when they are next wanted."""
        for done in dones:
            self.storage.delete(marker_key(stage, done.unit))

    def read_json(self, key: str) -> Any:
        return json.loads(self.storage.read(key))

    def read_unchecked(self, key: str) -> pa.Table:
        """A table that nothing vouches for (people read it, no stage does)."""
        return decode_table(self.storage.read(key))

    def write_json(self, key: str, value: Any) -> FileRef:
        return self.storage.write(key, canonical_json(value))

    def _marker(self, stage: Stage[Any, Made], key: str) -> Done[Made] | None:
        """None where the marker is damaged: the unit is then simply not done."""
        try:
            return read_done(stage, self.read_json(key))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _sizes(self, refs: Iterable[FileRef]) -> dict[str, int]:
        """Bytes of every file beside these, by one listing of each top folder."""
        folders = {ref.key.split("/")[0] for ref in refs}
        return {e.key: e.bytes for folder in folders for e in self.storage.list(folder)}


def open_workspace(path: str, settings: Settings) -> Workspace:
    """What lies below a folder or s3://bucket/prefix. Raises InputError for another scheme."""
    return Workspace(open_storage(path, settings.s3))


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
class Result(Generic[Made]):
    """What a unit's last step hands over: what it made, and counts that reconcile."""

    made: Made
    counts: Mapping[str, int]


def _whole(files: Iterable[FileRef], sizes: Mapping[str, int]) -> bool:
    return all(sizes.get(ref.key) == ref.bytes for ref in files)


def marker_key(stage: str, unit: str) -> str:
    """Where the marker of a stage's unit lies."""
    return f"units/{stage}/{unit}.json"
