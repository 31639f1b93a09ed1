"""Files below a local folder. Links are followed, to folders as to files, in one way everywhere."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Path = tuple[str, ...]


@dataclass(frozen=True)
class WalkedFile:
    """A file below a folder.

    Attributes:
        address: the folder's, and below it.
        below: the names from the folder to the file.
        linked: whether a link was followed on the way.
        loop: it is no file, but a link to a folder above it.
    """

    address: str
    below: Path
    linked: bool = False
    loop: bool = False


def walk(base: str, wanted: Callable[[Path], bool] = lambda below: True) -> Iterator[WalkedFile]:
    """All files below a folder, but for those in folders below it that are not wanted.

    Raises OSError where something may not be read: os.walk would pass over it.
    """
    yield from _walk(base, (), frozenset(), False, wanted)


def _walk(
    folder: str,
    below: Path,
    above: frozenset[tuple[int, int]],
    linked: bool,
    wanted: Callable[[Path], bool],
) -> Iterator[WalkedFile]:
    above |= {_identity(os.stat(folder))}
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        path, through = (*below, entry.name), linked or entry.is_symlink()
        if not entry.is_dir():
            yield WalkedFile(entry.path, path, through)
        elif _identity(os.stat(entry.path)) in above:
            yield WalkedFile(entry.path, path, through, loop=True)
        elif wanted(path):
            yield from _walk(entry.path, path, above, through, wanted)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def status_of(address: str) -> os.stat_result | None:
    """None for a link that leads nowhere."""
    try:
        return os.stat(address)
    except FileNotFoundError:
        return None


def shown(address: str) -> str:
    """The address as UTF-8: the system hands other bytes over as surrogates."""
    return address.encode("utf-8", "backslashreplace").decode("utf-8")
