"""What travels with a job: a folder's files, and its command's settings file."""

import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import InputError

#: Bytes of files in all; Ray keeps a job's files in the memory of its head.
MOST = 100 << 20
#: Where a settings file from outside the folder is put.
CONFIGS = "_config"
#: One moment for all files, so that the same files make the same package: the zip format's first.
_WHEN = (1980, 1, 1, 0, 0, 0)
_NEVER = ("__pycache__", "node_modules")


@dataclass(frozen=True)
class Luggage:
    """The files of a job, by the names that they have in its working directory.

    Attributes:
        files: where each lies here.
        config: the name there of the command's settings file.
    """

    files: dict[str, Path]
    config: str | None = None

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


def pack(folder: Path | None, config: Path | None) -> Luggage:
    """What a command takes along.

    Args:
        folder: whose files it wants to find in its working directory; what git ignores there, what
            is hidden, and Python's caches stay.
        config: its settings file, which travels in any case.

    Raises:
        InputError: there is no such folder or settings file, nothing in the folder may travel, or
            there is too much.
    """
    files = {} if folder is None else _folder(folder)
    name = None
    if config is not None:
        if not config.is_file():
            raise InputError(f"There is no settings file {config}.", "Check --config.")
        name = _name_of(config, folder)
        files[name] = config
    found = Luggage(files, name)
    _refuse_too_much(found, folder)
    return found


def _folder(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"--working-dir {folder} is no folder.", "Name one, or leave it out.")
    names = _by_git(folder) if _in_checkout(folder) else _by_walking(folder)
    files = {name: folder / name for name in names if _may_travel(name)}
    found = {name: path for name, path in files.items() if path.is_file()}
    if not found:
        raise InputError(
            f"Nothing in --working-dir {folder} travels.",
            "What is hidden stays, and what git ignores. Name another folder, or leave it out.",
        )
    return found


def _may_travel(name: str) -> bool:
    return not any(part.startswith(".") or part in _NEVER for part in Path(name).parts)


def _in_checkout(folder: Path) -> bool:
    here = folder.resolve()
    return any((above / ".git").exists() for above in (here, *here.parents))


def _by_git(folder: Path) -> list[str]:
    """What git knows or would add below the folder."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        found = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode(errors="replace") if hasattr(error, "stderr") else str(error)
        raise InputError(
            f"--working-dir {folder} is in a checkout, and git does not say what it ignores there: "
            f"{said.strip()}",
            "Mend that, or name a folder outside of it.",
        ) from error
    return [name for name in found.stdout.decode("utf-8", "surrogateescape").split("\0") if name]


def _by_walking(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]


def _name_of(config: Path, folder: Path | None) -> str:
    if folder is not None and config.resolve().is_relative_to(folder.resolve()):
        return str(config.resolve().relative_to(folder.resolve()))
    return f"{CONFIGS}/{config.name}"


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
