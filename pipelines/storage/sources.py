"""Finding and opening what the user gave: a file, a folder or a glob, on disk or in S3."""

import glob
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.core.errors import InputError
from pipelines.core.protocols import Entry
from pipelines.core.settings import S3Settings
from pipelines.core.sources import SUPPORTED_NAMES, name_format
from pipelines.storage.client import explained, filesystem, s3_entry, s3_files
from pipelines.storage.local import local_entry
from pipelines.storage.stamp import source_entry

#: Bytes that are fetched from S3 beyond what is read: s3fs's own 50 MiB would come with each slice.
READ_AHEAD = 4 << 20
#: Local files looked into at once.
_STAMPED_AT_ONCE = 8


@dataclass(frozen=True)
class Sources:
    """Reads what the user named, wherever it lies. Travels to the workers."""

    s3: S3Settings

    def list(self, uri: str) -> list[Entry]:
        """The source files that `uri` stands for, sorted by address.

        A folder means all files below it. Files and folders below it whose names start with "."
        or "_" are skipped (markers, temporary files), and so is what is neither Parquet nor JSON
        Lines.

        Args:
            uri: a file, folder or glob (`*`, `?`, `[…]`, `**`); a local path or s3://bucket/….

        Returns:
            Entries whose key is the whole address (local ones absolute, so that every worker of a
            cluster means the same file).

        Raises:
            InputError: nothing is there, nothing of it is a supported file, or a folder holds both
                documents and queries.
        """
        found = _s3_sources(self.s3, uri) if is_s3(uri) else _local_sources(uri)
        if not found:
            raise InputError(f"There is no file, folder or match for {uri!r}.", "Check the path.")
        supported = [entry for entry in found if name_format(entry.key)]
        if not supported:
            raise InputError(f"{uri!r} holds {_names(found)}.", f"Supported are {SUPPORTED_NAMES}.")
        _refuse_mixed(uri, supported)
        return sorted(supported if is_s3(uri) else _stamped(supported), key=lambda e: e.key)

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
            return Path(uri).open("rb")
        except OSError as error:
            raise InputError(f"{uri} could not be opened: {error.strerror}.", "") from error


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
    if not glob.has_magic(outer) or os.path.isdir(outer):
        return path[: len(pattern)] == pattern
    fixed = _fixed_part("/".join(pattern)).split("/")
    return path[: len(fixed)] == fixed and _enters(pattern, path)


def is_s3(uri: str) -> bool:
    """Whether the address is one in S3. Raises InputError for schemes that nothing here reads."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise InputError(
            f"{uri!r} has the scheme {scheme}://, which is not supported.",
            "Use a local path or s3://bucket/….",
        )
    return bool(separator)


def _segments(uri: str) -> list[str]:
    """Local links are followed: one folder has one name here."""
    address = uri if is_s3(uri) else os.path.realpath(uri)
    return address.rstrip("/").split("/")


def _enters(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a file below the folder `path` can match the glob."""
    if not pattern:
        return False
    if not path or pattern[0] == "**":
        return True
    return fnmatchcase(path[0], pattern[0]) and _enters(pattern[1:], path[1:])


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


def _stamped(entries: Sequence[Entry]) -> list[Entry]:
    """The local files with the versions that their content decides."""
    with ThreadPoolExecutor(_STAMPED_AT_ONCE) as pool:
        return list(pool.map(_stamp, (entry.key for entry in entries)))


def _stamp(path: str) -> Entry:
    try:
        return source_entry(Path(path), path)
    except OSError as error:
        raise InputError(f"{path} could not be looked up: {error.strerror}.", "") from error


def _local_sources(uri: str) -> list[Entry]:
    path = os.path.abspath(uri)
    try:
        if os.path.isfile(path):
            return [local_entry(Path(path), path)]
        base = path if os.path.isdir(path) else _fixed_part(path)
        found = _below(path) if os.path.isdir(path) else _matches(path)
        return [local_entry(Path(p), p) for p in found if _visible(p, base)]
    except OSError as error:
        raise InputError(
            f"{error.filename} could not be listed: {error.strerror}.", "Check the path."
        ) from error


def _below(folder: str) -> list[str]:
    walk = os.walk(folder, onerror=_raise)
    return [os.path.join(parent, name) for parent, _, names in walk for name in names]


def _matches(pattern: str) -> list[str]:
    return [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]


def _raise(error: OSError) -> None:
    """Nothing is left out silently: os.walk would pass over what it may not read."""
    raise error


def _s3_sources(settings: S3Settings, uri: str) -> list[Entry]:
    address, files = uri.rstrip("/"), filesystem(settings)
    with explained(uri, "listed"):
        if "/" in address.removeprefix("s3://") and files.isfile(address):
            return [s3_entry(files.info(address))]
        found, base = s3_files(settings, address), address
        if not found and glob.has_magic(address):
            matches = files.glob(address, detail=True).values()
            found = [s3_entry(m) for m in matches if m["type"] == "file"]
            base = _fixed_part(address)
    return [entry for entry in found if _visible(entry.key, base)]


def _fixed_part(pattern: str) -> str:
    """The folders of a glob before the first one that holds a wildcard."""
    segments = pattern.split("/")
    first = next(i for i, s in enumerate([*segments, "*"]) if glob.has_magic(s))
    return "/".join(segments[:first])


def _visible(address: str, base: str) -> bool:
    """Names the user wrote himself are not judged: only what was found below them is."""
    return not any(s.startswith((".", "_")) for s in address[len(base) :].strip("/").split("/"))


def _names(found: Sequence[Entry], limit: int = 5) -> str:
    names = [entry.key.rsplit("/", 1)[-1] for entry in found]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest + ", and no Parquet or JSON Lines file"
