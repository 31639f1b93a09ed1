"""What travels with a job: a folder's files, and the settings files that its command names."""

import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import InputError

#: Bytes of files in all; Ray keeps a job's files in the memory of its head.
MOST = 100 << 20
#: Where settings files from outside the folder are put.
CONFIGS = "_config"
#: One moment for all files, so that the same files make the same package: the zip format's first.
_WHEN = (1980, 1, 1, 0, 0, 0)
_NEVER = ("__pycache__", "node_modules")


@dataclass(frozen=True)
class Luggage:
    """The files of a job, by the names they have there, and its command's words, which name them
    so."""

    files: dict[str, Path]
    words: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    def zip(self, to: Path) -> None:
        """Write them as a package; the same files give the same bytes."""
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as package:
            for name, path in sorted(self.files.items()):
                info = zipfile.ZipInfo(name, _WHEN)
                info.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
                package.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)

    def explain(self) -> str:
        """In words."""
        if not self.files:
            return "no files"
        return f"{len(self.files):,} files, {self.bytes / 1e6:,.1f} MB"


def pack(words: Sequence[str], folder: Path | None) -> Luggage:
    """What a command takes along.

    Args:
        words: the command's.
        folder: whose files it wants to find in its working directory; what git ignores there, what
            is hidden, and Python's caches stay.

    Raises:
        InputError: there is no such folder or settings file, or there is too much.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"--working-dir {folder} is no folder.", "Name one, or leave it out.")
    files = {} if folder is None else dict(_files(folder))
    renamed = list(words)
    for at, path in _configs(words):
        name = _name_of(path, folder, files)
        files[name] = path
        renamed[at] = f"--config={name}" if words[at].startswith("--config=") else name
    found = Luggage(files, tuple(renamed))
    _refuse_too_much(found, folder)
    return found


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for name in _by_git(folder) or _by_walking(folder):
        path = folder / name
        if path.is_file() and not any(piece in _NEVER for piece in Path(name).parts):
            yield name, path


def _by_git(folder: Path) -> list[str]:
    """What git knows or would add below the folder; nothing where it is no checkout."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        found = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in found.stdout.decode("utf-8", "surrogateescape").split("\0") if name]


def _by_walking(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")))
    return [str(name) for name in names if not any(part.startswith(".") for part in name.parts)]


def _configs(words: Sequence[str]) -> Iterator[tuple[int, Path]]:
    """The settings files that a command names, and which of its words does."""
    for at, word in enumerate(words):
        given = word.removeprefix("--config=") if word.startswith("--config=") else None
        if at and words[at - 1] in ("--config", "-c"):
            given = word
        if given is None:
            continue
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(
                f"There is no settings file {given}.", "Check the path after --config."
            )
        yield at, path


def _name_of(path: Path, folder: Path | None, files: dict[str, Path]) -> str:
    inside = folder is not None and path.resolve().is_relative_to(folder.resolve())
    if folder is not None and inside:
        return str(path.resolve().relative_to(folder.resolve()))
    return f"{CONFIGS}/{path.name}"


def _refuse_too_much(found: Luggage, folder: Path | None) -> None:
    if found.bytes <= MOST:
        return
    largest = sorted(found.files.items(), key=lambda each: -each[1].stat().st_size)[:3]
    named = ", ".join(f"{name} ({path.stat().st_size / 1e6:,.0f} MB)" for name, path in largest)
    raise InputError(
        f"{folder} would take {found.explain()} along, at most {MOST / 1e6:,.0f} MB may; the "
        f"largest are {named}.",
        "Put data on S3 or on a disk that all nodes see, and name a smaller --working-dir.",
    )
