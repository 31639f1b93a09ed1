"""A lock on an object store, which has none that dies with its process: a lease.

Below KEY/ lie numbered objects, each created only if absent, so one writer at most gets a number.
The highest is the lease; who holds it writes it again every few seconds. It is free where its
holder gave it up, where its holder was a process of this machine that is gone, or where it was not
written for `TTL` seconds, by the store's own clock. A holder that slept for longer loses it to the
next one and goes on beside it: results stay right, since units are idempotent and versions are
created only if absent; the lease saves work and keeps garbage collection away from a run.
"""

import json
import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread

from shardrank.core.errors import CommitConflict, ShardrankError
from shardrank.core.protocols import Entry, Storage

#: Seconds between two signs of life, and without one until a lease is free.
BEAT, TTL = 7.0, 30.0

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        name: of this one lease, drawn by its holder.
        host: the machine, and `boot` its start, as the kernel names it.
        pid: the process, and `began` its start, in ticks of the kernel.
        beats: signs of life so far.
        over: whether it was given up.
    """

    name: str
    host: str
    boot: str
    pid: int
    began: str
    beats: int = 0
    over: bool = False

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), platform.node(), _boot(), pid, _began(pid))

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine, as it runs now, and is no more."""
        return bool(self.boot) and self.boot == _boot() and _began(self.pid) != self.began

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, data: bytes) -> "Holder | None":
        """None: no holder wrote that."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Lease:
    """The lease `key` on a store. Times are in seconds."""

    storage: Storage
    key: str
    beat: float = BEAT
    ttl: float = TTL

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it while the context lasts. Raises CommitConflict where another does."""
        mine, number = self._take()
        over = Event()
        thread = Thread(target=self._live, args=(mine, number, over), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(ShardrankError):  # it ends by itself
                self.storage.write(self._name(number), replace(mine, over=True).to_bytes())

    def _take(self) -> tuple[Holder, int]:
        held = self._highest()
        number = 1 + (self._number(held) if held else 0)
        if held:
            self._refuse_alive(held)
        mine = Holder.here()
        self.storage.create(self._name(number), mine.to_bytes())
        for entry in self.storage.list(self.key):
            if self._number(entry) < number:
                self.storage.delete(entry.key)
        return mine, number

    def _refuse_alive(self, entry: Entry) -> None:
        holder = self._holder(entry)
        if holder is None or holder.over or holder.is_gone:
            return
        age = self._age(entry)
        if age < self.ttl:
            raise CommitConflict(
                f"{self.storage.root} is in use: process {holder.pid} on {holder.host} holds "
                f"{self.key} and gave a sign of life {age:.0f} s ago.",
                "Wait for it (--wait), or stop it. Of a run that was killed on another machine "
                f"nothing is left {self.ttl:.0f} s later.",
            )

    def _age(self, entry: Entry) -> float:
        """Since it was last written, by the store's clock: that of an object written now."""
        probe = f"{self.key}/now-{secrets.token_hex(8)}"
        self.storage.write(probe, b"")
        try:
            found = {each.key: each.modified for each in self.storage.list(self.key)}
        finally:
            self.storage.delete(probe)
        return max(0.0, found.get(probe, 0.0) - found.get(entry.key, 0.0))

    def _live(self, mine: Holder, number: int, over: Event) -> None:
        beats = 0
        while not over.wait(self.beat):
            beats += 1
            with suppress(ShardrankError):  # a store that fails now may answer the next time
                if self._number(self._highest()) > number:
                    return
                self.storage.write(self._name(number), replace(mine, beats=beats).to_bytes())

    def _highest(self) -> Entry | None:
        numbered = [entry for entry in self.storage.list(self.key) if self._number(entry)]
        return max(numbered, key=self._number, default=None)

    def _holder(self, entry: Entry) -> Holder | None:
        try:
            return Holder.read(self.storage.read(entry.key))
        except ShardrankError:
            return None

    def _name(self, number: int) -> str:
        return f"{self.key}/{number:012d}.json"

    def _number(self, entry: Entry | None) -> int:
        name = Path(entry.key).stem if entry else ""
        return int(name) if name.isdigit() else 0


def _boot() -> str:
    return _read(_BOOT).strip()


def _began(pid: int) -> str:
    """When a process of this machine began, in ticks since the machine did; "": there is none.

    See proc(5): the 22nd field of /proc/PID/stat; the second may hold spaces, in parentheses.
    """
    return (_read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() + [""] * 20)[19]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
