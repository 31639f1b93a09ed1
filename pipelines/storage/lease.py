"""A lock on an object store, which has none that dies with its process: a lease.

Below KEY/ lie numbered objects, each created only if absent, so one writer at most gets a number.
The highest is the lease; who holds it writes it again every few seconds. It is free where its
holder gave it up, where its holder was a process of this machine (and of this container) that is
gone, or where it was not written for `TTL` seconds, by the store's own clock. A holder that slept
for longer loses it to the next one and goes on beside it: results stay right, since units are
idempotent and versions are created only if absent; the lease saves work and keeps garbage
collection away from a run.
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

from shardrank.core.errors import CommitConflict, InputError, ShardrankError
from shardrank.core.protocols import Entry, Storage

#: Seconds between two signs of life, and without one until a lease is free.
BEAT, TTL = 7.0, 30.0
#: Seconds that a beat under way may take when the lease is given up.
PATIENCE = 2.0

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        name: of this one lease, drawn by its holder.
        host: the machine, and `boot` its start, as the kernel names it.
        space: the kernel's name for the processes that this one sees: of its container.
        pid: the process, and `began` its start, in ticks of the kernel.
        beats: signs of life so far.
        over: whether it was given up.
    """

    name: str
    host: str
    boot: str
    space: str
    pid: int
    began: str
    beats: int = 0
    over: bool = False

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        pid = os.getpid()
        name, host = secrets.token_hex(8), platform.node()
        return cls(name, host, _read(_BOOT).strip(), _space(), pid, _began(pid))

    @property
    def is_gone(self) -> bool:
        """Whether it was a process that could be seen from here, and is no more."""
        here = Holder.here()
        if not self.boot or not self.space:
            return False
        if (self.host, self.boot, self.space) != (here.host, here.boot, here.space):
            return False
        began = _began(self.pid)
        return not _exists(self.pid) if not began else began != self.began

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
            thread.join(PATIENCE)
            with suppress(ShardrankError):  # it ends by itself
                self.storage.write(self._name(number), replace(mine, over=True).to_bytes())

    def _take(self) -> tuple[Holder, int]:
        held = self._highest()
        while held and not self._is_free(held):
            held = self._highest()
        number, mine = 1 + self._number(held), Holder.here()
        try:
            self.storage.create(self._name(number), mine.to_bytes())
        except CommitConflict:
            raise self._taken("another run took it a moment ago.") from None
        entries = self.storage.list(self.key)
        if any(self._number(entry) > number for entry in entries):
            # While this process slept, others took it, gave it up, and took it again.
            self.storage.delete(self._name(number))
            raise self._taken("another run took it a moment ago.")
        for entry in entries:
            if self._number(entry) < number:
                self.storage.delete(entry.key)
        return mine, number

    def _is_free(self, entry: Entry) -> bool:
        """Whether nobody holds it; False: it went away meanwhile. Raises CommitConflict where it is
        held. What cannot be understood is held until it is old: a later version may have made it.
        """
        try:
            holder = Holder.read(self.storage.read(entry.key))
        except InputError:
            return False
        if holder and (holder.over or holder.is_gone):
            return True
        age = self._age(entry)
        if age is not None and age < self.ttl:
            who = f"process {holder.pid} on {holder.host}" if holder else "somebody"
            raise self._taken(f"{who} gave a sign of life {age:.0f} s ago.")
        return age is not None

    def _taken(self, who: str) -> CommitConflict:
        return CommitConflict(
            f"{self.storage.root} is in use, by its lease {self.key}: {who}",
            "Wait for it (--wait), or stop it. Of a run that was killed elsewhere nothing is left "
            f"{self.ttl:.0f} s later.",
        )

    def _age(self, entry: Entry) -> float | None:
        """Since it was last written, by the store's clock: that of an object written now. None: it
        is no longer there."""
        probe = f"{self.key}/now-{secrets.token_hex(8)}"
        self.storage.write(probe, b"")
        try:
            found = {each.key: each.modified for each in self.storage.list(self.key)}
        finally:
            self.storage.delete(probe)
        if entry.key not in found:
            return None
        return max(0.0, found.get(probe, 0.0) - found[entry.key])

    def _live(self, mine: Holder, number: int, over: Event) -> None:
        beats = 0
        while not over.wait(self.beat):
            beats += 1
            with suppress(Exception):  # a store that fails now may answer the next time
                if self._number(self._highest()) > number:
                    return
                self.storage.write(self._name(number), replace(mine, beats=beats).to_bytes())

    def _highest(self) -> Entry | None:
        numbered = [entry for entry in self.storage.list(self.key) if self._number(entry)]
        return max(numbered, key=self._number, default=None)

    def _name(self, number: int) -> str:
        return f"{self.key}/{number:012d}.json"

    def _number(self, entry: Entry | None) -> int:
        name = Path(entry.key).stem if entry else ""
        return int(name) if name.isdigit() else 0


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    """Whether there is such a process, also where another user's may not be looked at."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
