"""Keys: relative POSIX paths below a storage's root, and nothing that leads out of it."""

from shardrank.core.errors import CommitConflict, InputError, IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import sha256_hex

#: Temporary files are ".….tmp": written beside their target, never listed, never a key.
TEMPORARY_SUFFIX = ".tmp"


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a write in progress (or of one that was killed)."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


def checked_key(key: str) -> str:
    """`key` itself. Raises InputError where it is no relative path below the root."""
    segments = key.split("/")
    if any(s in ("", ".", "..") or "\0" in s or "\\" in s for s in segments):
        raise InputError(
            f"The key {key!r} is not a relative path below the storage's root.",
            "Use segments joined by one slash, without . and ..",
        )
    if is_temporary(segments[-1]):
        raise InputError(f"The key {key!r} is a name kept for temporary files.", "")
    return key


def checked_prefix(prefix: str) -> str:
    """A folder's key without a trailing slash; "" is the root. Raises InputError."""
    stripped = prefix.removesuffix("/")
    return checked_key(stripped) if stripped else ""


def checked_data(data: bytes, ref: FileRef, where: str) -> bytes:
    """`data` itself. Raises IntegrityError where it is not what `ref` vouches for."""
    if len(data) != ref.bytes:
        raise _damaged(where, f"{ref.bytes} bytes", f"{len(data)} bytes")
    found = sha256_hex(data)
    if found != ref.sha256:
        raise _damaged(where, f"sha256 {ref.sha256}", f"sha256 {found}")
    return data


def missing(where: str) -> IntegrityError:
    """The error for a file that a manifest lists and that is not there."""
    return IntegrityError(
        f"{where} is missing, though a manifest lists it.",
        "Restore it from a backup, or delete its marker and run again.",
    )


def conflict(where: str) -> CommitConflict:
    """The error for a create that came second."""
    return CommitConflict(f"{where} exists already: another run was first.", "Run again.")


def _damaged(where: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        f"{where} is not the file that was written: expected {expected}, found {found}.",
        "Restore it from a backup, or delete it together with its marker and run again.",
    )
