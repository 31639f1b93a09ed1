"""The sha256 of a model's weights, computed once for each file in a process. Imports no torch."""

import hashlib
from functools import lru_cache
from pathlib import Path

from shardrank.core.errors import InputError
from shardrank.core.fingerprint import fingerprint


def weights_sha256(*files: Path) -> str:
    """The sha256 of one file, as sha256sum prints it; of several, one over all of theirs.

    Raises:
        InputError: there is no file at all.
    """
    if not files:
        raise InputError("The model has no safetensors weights.", "Name a complete model folder.")
    hashes = [_file_sha256(file, *_version(file)) for file in files]
    return hashes[0] if len(hashes) == 1 else fingerprint(hashes, digits=64)


def files_of(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder by pattern, sorted by name."""
    return sorted(folder.glob(pattern))


def _version(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=256)
def _file_sha256(file: Path, mtime_ns: int, size: int) -> str:
    """Keyed by time and size too, so that a file that is replaced is read again."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
