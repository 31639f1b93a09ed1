"""Finding and opening what the user gave: a file, a folder or a glob, on disk or in S3."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry
from shardrank.core.settings import S3Settings
from shardrank.core.source_files import SUPPORTED_NAMES, Listing
from shardrank.core.tally import spend
from shardrank.storage.client import explained, filesystem, s3_entry
from shardrank.storage.globs import enters, fixed_part, has_magic
from shardrank.storage.listing import list_local, list_s3
from shardrank.storage.stamp import source_entry

#: Bytes that are fetched from S3 beyond what is read: s3fs's own 50 MiB would come with each slice.
READ_AHEAD = 4 << 20
#: Local files looked into at once.
_STAMPED_AT_ONCE = 8

#: Files named in a message, at most.
_NAMED = 10


@dataclass(frozen=True)
class Sources:
    """Reads what the user named, wherever it lies. Travels to the workers."""

    s3: S3Settings

    def list(self, uri: str) -> list[Entry]:
        """What `listing` reads, where nothing that looks like data is left out."""
        return [*self.listing(uri).read]

    def listing(self, uri: str, allow_unread: bool = False) -> Listing:
        """The source files that `uri` stands for, and the files left out, sorted by address.

        A folder means all files below it, a glob the files that match; links are followed alike in
        both, and a file that several ways lead to is read once. See `why_left_out` for the rest.

        Args:
            uri: a file, folder or glob (`*`, `?`, `[…]`, `**`); a local path or s3://bucket/….
            allow_unread: whether files that look like data may be left out.

        Returns:
            Entries whose key is the whole address (local ones absolute, so that every worker of a
            cluster means the same file).

        Raises:
            InputError: nothing is there, nothing of it is a supported file, it belongs to a table
                that is more than its files, files that look like data would not be read, or a
                folder holds both documents and queries.
        """
        found = list_s3(self.s3, uri) if is_s3(uri) else list_local(uri)
        if not found.read and not found.left_out:
            if not is_s3(uri) and os.path.isdir(uri):
                raise InputError(f"The folder {uri!r} holds no file.", "Check the path.")
            raise InputError(f"There is no file, folder or match for {uri!r}.", "Check the path.")
        if not found.read:
            raise InputError(
                f"{uri!r} holds {_names(found)}, and no Parquet or JSON Lines file.",
                f"Supported are {SUPPORTED_NAMES}.",
            )
        if not allow_unread:
            _refuse_unread(uri, found)
        _refuse_mixed(uri, found.read)
        return found if is_s3(uri) else replace(found, read=_stamped(found.read))

    def open(self, uri: str, version: str | None = None) -> BinaryIO:
        """A seekable stream of the file's bytes.

        Args:
            uri: the file.
            version: the one that it must have, as its Entry says; None takes the file as it is.

        Raises:
            InputError: it cannot be opened, or it has another version.
        """
        stream = self._open(uri)
        # Looked at after opening: what was replaced in between is refused too.
        if version is not None and self.version(uri) != version:
            stream.close()
            raise InputError(f"{uri} changed since this run planned it.", "Run the command again.")
        return stream

    def version(self, uri: str) -> str:
        """The file's version as `list` would give it now. Raises InputError if it is gone."""
        if is_s3(uri):
            with explained(uri, "looked up"):
                return s3_entry(filesystem(self.s3).info(uri)).version
        return _stamp(uri).version

    def _open(self, uri: str) -> BinaryIO:
        if is_s3(uri):
            with explained(uri, "opened"):
                files = filesystem(self.s3)
                return cast(BinaryIO, files.open(uri, "rb", block_size=READ_AHEAD))
        try:
            return io.BufferedReader(_Counted(uri))
        except OSError as error:
            raise InputError(f"{uri} could not be opened: {error.strerror}.", "") from error


class _Counted(io.FileIO):
    """A local file whose bytes count as read when they are."""

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        spend("read:local", count)
        return count

    def readall(self) -> bytes:
        data = super().readall()
        spend("read:local", len(data))
        return data


def contains(outer: str, inner: str) -> bool:
    """Whether the folder `inner` lies where `Sources.list(outer)` looks for files.

    A folder holds itself and all below it. A glob holds the folders that its wildcards look into:
    `data/*.jsonl` holds `data` but not `data/index`; `data/*/*` and `data/**` hold both.

    Args:
        outer: a file, folder or glob, as for `Sources.list`.
        inner: a folder; it need not exist.
    """
    if is_s3(outer) != is_s3(inner):
        return False
    pattern, path = _segments(outer), _segments(inner)
    if not has_magic(outer) or os.path.isdir(outer):
        return path[: len(pattern)] == pattern
    fixed = fixed_part("/".join(pattern)).split("/")
    return path[: len(fixed)] == fixed and enters(pattern, path)


def is_s3(uri: str) -> bool:
    """Whether the address is one in S3.

    Raises InputError for schemes that nothing here reads, and for one version of an object: what
    is read is always the newest.
    """
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise InputError(
            f"{uri!r} has the scheme {scheme}://, which is not supported.",
            "Use a local path or s3://bucket/….",
        )
    if "?versionId=" in uri:
        raise InputError(
            f"{uri!r} names one version of an object, and only the newest can be read.",
            "Copy that version to a key of its own: aws s3api get-object --version-id …",
        )
    return bool(separator)


def _segments(uri: str) -> list[str]:
    """Local links are followed: one folder has one name here."""
    address = uri if is_s3(uri) else os.path.realpath(uri)
    return address.rstrip("/").split("/")


def _refuse_mixed(uri: str, found: Sequence[Entry]) -> None:
    """Queries beside documents, as in BEIR's folders, would be taken for documents in silence.

    Only a folder is judged: in a glob or a file the user said himself what he means.
    """
    folder = (uri if is_s3(uri) else os.path.abspath(uri)).rstrip("/") + "/"
    keys = [entry.key for entry in found if entry.key.startswith(folder)]
    documents, queries = (_first_named(keys, kind) for kind in ("corpus", "queries"))
    if documents and queries:
        raise InputError(
            f"The folder {uri!r} holds documents and queries: {documents} and {queries}.",
            f"Give the file itself: {documents} for documents, {queries} for queries.",
        )


def _first_named(keys: Sequence[str], start: str) -> str | None:
    names = (key for key in sorted(keys) if key.rsplit("/", 1)[-1].lower().startswith(start))
    return next(names, None)


def _refuse_unread(uri: str, found: Listing) -> None:
    """What is not read tonight would be deleted, or missing, in silence."""
    lines = [f"  {one.address}: {one.reason}" for one in found.unread]
    if not lines:
        return
    more = [f"  … and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    files = "\n".join([*lines[:_NAMED], *more])
    raise InputError(
        f"{uri!r} holds {len(lines)} file(s) that look like data and are not read:\n{files}\n",
        "Convert them, move them away, or name the files to read by a glob. To go on without "
        "them: --set corpus.allow_unread=true.",
    )


def _stamped(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The local files with the versions that their content decides."""
    with ThreadPoolExecutor(_STAMPED_AT_ONCE) as pool:
        return tuple(pool.map(_stamp, (entry.key for entry in entries)))


def _stamp(path: str) -> Entry:
    try:
        return source_entry(Path(path), path)
    except OSError as error:
        raise InputError(f"{path} could not be looked up: {error.strerror}.", "") from error


def _names(found: Listing, limit: int = 5) -> str:
    names = [f"{one.address.rsplit('/', 1)[-1]} ({one.reason})" for one in found.left_out]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
