"""A folder on a local or network disk as storage.

POSIX: rename(2) replaces atomically, link(2) fails where the name exists, flock(2) dies with its
process. A file's bytes are durable after fsync of the file, its name after fsync of its folder.
"""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import (
    CommitConflict,
    CommitStateUnknown,
    InputError,
    RunFailed,
    ShardrankError,
)
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import sha256_hex
from shardrank.core.protocols import Entry
from shardrank.core.tally import spend
from shardrank.storage.keys import (
    TEMPORARY_SUFFIX,
    checked_data,
    checked_key,
    checked_prefix,
    conflict,
    is_temporary,
    missing,
)


@dataclass(frozen=True)
class LocalStorage:
    """The files below the folder `root`; implements `shardrank.core.protocols.Storage`.

    A killed write leaves at most a temporary file, which no method lists or reads. All methods
    raise InputError where a path is denied or is no file, and RunFailed where the disk refuses.
    """

    root: str

    def read(self, key: str) -> bytes:
        path = self._path(key)
        with _explained(path, "read"):
            data = path.read_bytes()
        spend("read:local", len(data))
        return data

    def read_checked(self, ref: FileRef) -> bytes:
        path = self._path(ref.key)
        if not path.is_file():
            raise missing(str(path))
        return checked_data(self.read(ref.key), ref, str(path))

    def write(self, key: str, data: bytes, rows: int = 0) -> FileRef:
        path = self._path(key)
        with _explained(path, "written"), _temporary(path.parent, data) as temporary:
            os.replace(temporary, path)
            _sync_folder(path.parent)
        return FileRef(key, len(data), sha256_hex(data), rows)

    def create(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _explained(path, "created"), _temporary(path.parent, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise conflict(str(path)) from None
            _sync_created(path)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[Entry]:
        folder = Path(self.root) / checked_prefix(prefix)
        with _explained(folder, "listed"):
            entries = [_entry(path, self.root) for path in _files(folder)]
        return sorted((e for e in entries if e is not None), key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _explained(path, "deleted"), suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the file `key` by flock(2); the kernel releases it when the process dies.

        The file stays: were it deleted, two processes could hold two files of one name. It says
        who holds it (host and process), for the message that the next one gets.
        """
        path = self._path(key)
        with _explained(path, "locked"):
            _make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _acquire(descriptor, path)
            yield
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        return Path(self.root) / checked_key(key)


@contextmanager
def _explained(path: Path, done: str) -> Iterator[None]:
    """Turns the system's errors into ours, with the path."""
    try:
        yield
    except ShardrankError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} could not be {done}: there is no such file.", "") from None
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        hint = "Check the path, and that this user may use it."
        raise InputError(f"{path} could not be {done}: {error.strerror}.", hint) from error
    except OSError as error:
        hint = "Check the disk's free space and health, then run again."
        raise RunFailed(f"{path} could not be {done}: {error.strerror}.", hint) from error


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A durable file with these bytes in `folder`, gone when the context ends (or renamed)."""
    _make_folder(folder)
    path = folder / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        spend("written:local", len(data))
        yield path
    finally:
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """mkdir -p, each new name durable in its parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_created(path: Path) -> None:
    """The name is there for everyone to see; if the disk cannot say that it lasts, say so."""
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise CommitStateUnknown(
            f"{path} was created, but the disk failed before it was durable: {error.strerror}.",
            "Look whether the file is there before you run again.",
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, onerror=_unless_missing):
        yield from (Path(parent, name) for name in names if not is_temporary(name))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _entry(path: Path, root: str) -> Entry | None:
    """None where the file went away between the listing and the look at it."""
    try:
        return local_entry(path, path.relative_to(root).as_posix())
    except FileNotFoundError:
        return None


def local_entry(path: Path, key: str) -> Entry:
    """The file's size, and its modification time in ns and size as its version."""
    status = path.stat()
    version = f"{status.st_mtime_ns}-{status.st_size}"
    return Entry(key, status.st_size, version, status.st_mtime)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
        raise CommitConflict(
            f"{path} is locked by {holder or 'another process'}.",
            "Wait until it has ended, then run again.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
