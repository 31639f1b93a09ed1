"""What a file, folder or glob stands for: every file of it, judged by its name."""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from shardrank.core.errors import InputError
from shardrank.core.protocols import Entry
from shardrank.core.settings import S3Settings
from shardrank.core.source_files import LeftOut, Listing, name_format, why_left_out
from shardrank.storage.client import explained, s3_children, s3_files, s3_object
from shardrank.storage.globs import covers, enters, fixed_part, has_magic, matches
from shardrank.storage.local import local_entry
from shardrank.storage.tables import Bucket, Disk, Listed, parents, refuse_tables
from shardrank.storage.walk import WalkedFile, shown, status_of, walk

_NOT_MATCHED = "in a folder that the glob matches, as it does not match the file: end it in /**"


def list_local(uri: str) -> Listing:
    """See `Sources.listing`; nothing is raised for what is left out."""
    path = os.path.abspath(uri)
    try:
        base, found, pattern = _find_local(path)
        refuse_tables(Disk(), _folders_of(base, found))
        judged = [_judge_local(one, pattern) for one in found]
    except OSError as error:
        raise InputError(
            f"{error.filename} could not be listed: {error.strerror}.", "Check the path."
        ) from error
    return _listing(_once(found, judged))


def _once(found: Sequence[WalkedFile], judged: Sequence[Entry | LeftOut]) -> list[Entry | LeftOut]:
    """Of several ways to one file that is read, the one without links counts, else the first."""
    if not any(one.linked for one in found):
        return list(judged)
    ways: dict[str, str] = {}
    for one, verdict in sorted(zip(found, judged, strict=True), key=_plainest):
        if isinstance(verdict, Entry):
            ways.setdefault(os.path.realpath(one.address), one.address)
    return [
        verdict if one.loop else _or_the_same(one.address, verdict, ways)
        for one, verdict in zip(found, judged, strict=True)
    ]


def _plainest(pair: tuple[WalkedFile, Entry | LeftOut]) -> tuple[bool, str]:
    return pair[0].linked, pair[0].address


def _or_the_same(address: str, verdict: Entry | LeftOut, ways: dict[str, str]) -> Entry | LeftOut:
    kept = ways.get(os.path.realpath(address), address)
    same = LeftOut(shown(address), f"the same file as {kept}", data=False)
    return verdict if kept == address else same


def _find_local(path: str) -> tuple[str, list[WalkedFile], Sequence[str]]:
    """The folder at which the search began, what was found, and the glob below that folder."""
    if os.path.isfile(path):
        return os.path.dirname(path), [WalkedFile(path, ())], ()
    if os.path.isdir(path) or not has_magic(path):
        return path, list(walk(path)) if os.path.isdir(path) else [], ()
    base = fixed_part(path) or "/"
    pattern = path[len(base) :].strip("/").split("/")
    if not os.path.isdir(base):
        return base, [], pattern
    every = walk(base, lambda below: enters(pattern, below) or covers(pattern, below))
    return base, [one for one in every if covers(pattern, one.below)], pattern


def _judge_local(one: WalkedFile, pattern: Sequence[str]) -> Entry | LeftOut:
    if one.loop:
        return LeftOut(one.address, "a link to a folder above it", data=False)
    if shown(one.address) != one.address:
        return LeftOut(shown(one.address), "its name is no UTF-8", data=True)
    status = status_of(one.address)
    left_out = why_left_out(one.address, one.below, status.st_size if status else -1)
    if left_out or (left_out := _unmatched(one.address, one.below, pattern)):
        return left_out
    if status and not stat.S_ISREG(status.st_mode):
        return LeftOut(one.address, "a pipe, a socket or a device", data=True)
    return local_entry(Path(one.address), one.address)


def _unmatched(address: str, below: Sequence[str], pattern: Sequence[str]) -> LeftOut | None:
    matched = not pattern or matches(pattern, below)
    return None if matched else LeftOut(address, _NOT_MATCHED, data=True)


def _folders_of(base: str, found: Sequence[WalkedFile]) -> set[str]:
    """Where a table of which these files are a part may have its signs."""
    folders = {base, os.path.realpath(base), *parents(base), *parents(os.path.realpath(base))}
    for one in found:
        folders.update(_shown_parents(one.address, one.below))
        if one.linked:
            folders.update(parents(os.path.realpath(one.address)))
    return folders


def _shown_parents(address: str, below: Sequence[str]) -> Iterator[str]:
    """The folders between base and file, but for those within a hidden one."""
    at = len(address) - len("/".join(below)) if below else len(address)
    for name in below[:-1]:
        if name.startswith("."):
            return
        at += len(name) + 1
        yield address[: at - 1]


def list_s3(settings: S3Settings, uri: str) -> Listing:
    """See `Sources.listing`; nothing is raised for what is left out."""
    address, bucket = uri.rstrip("/"), uri.removeprefix("s3://").partition("/")[0]
    if not bucket or has_magic(bucket):
        raise InputError(f"{uri!r} does not name one bucket.", "Write s3://bucket/….")
    with explained(uri, "listed"):
        named = s3_object(settings, address)
        below = _s3_below(settings, address, named)
        if address == uri:
            _refuse_both(named, below)
        if named and not below:
            refuse_tables(Bucket(settings), parents(address))
            return _listing([_judge_s3(named, (), ())])
        if not below and has_magic(address):
            return _list_glob(settings, address)
        refuse_tables(Bucket(settings), parents(address))
        look = Listed(entry.key for entry in below)
        refuse_tables(look, _s3_folders(address, below))
    return _listing([_judge_s3(entry, _below(entry, address), ()) for entry in below])


def _s3_below(settings: S3Settings, address: str, named: Entry | None) -> list[Entry]:
    """The objects below an address; who may read an object need not be allowed to list."""
    try:
        return s3_files(settings, address)
    except PermissionError:
        if named:
            return []
        raise


def _list_glob(settings: S3Settings, address: str) -> Listing:
    base = fixed_part(address)
    pattern = address[len(base) :].strip("/").split("/")
    every = _descend(settings, base, pattern)
    found = [entry for entry in every if covers(pattern, _below(entry, base))]
    refuse_tables(Bucket(settings), [*parents(base + "/"), *_s3_folders(base, found)])
    return _listing([_judge_s3(entry, _below(entry, base), pattern) for entry in found])


def _descend(settings: S3Settings, folder: str, pattern: Sequence[str]) -> list[Entry]:
    """What may match: level by level, so that folders that cannot match are not listed."""
    if not pattern or pattern[0] == "**":
        return s3_files(settings, folder)
    found, folders = s3_children(settings, folder)
    for inner in folders:
        if fnmatchcase(inner.rsplit("/", 1)[-1], pattern[0]):
            found += _descend(settings, inner, pattern[1:])
    return found


def _judge_s3(entry: Entry, below: Sequence[str], pattern: Sequence[str]) -> Entry | LeftOut:
    if "?versionId=" in entry.key:
        return LeftOut(entry.key, "its key holds ?versionId=, the name of a version", data=True)
    left_out = why_left_out(entry.key, below, entry.bytes)
    return left_out or _unmatched(entry.key, below, pattern) or entry


def _refuse_both(named: Entry | None, below: Sequence[Entry]) -> None:
    """One name for two things; an empty object of no format only marks the folder."""
    if named and below and (named.bytes or name_format(named.key)):
        raise InputError(
            f"{named.key} is an object, and a folder with {below[0].key} in it.",
            f"For the folder write {named.key}/; to read the object alone, give it another key.",
        )


def _below(entry: Entry, base: str) -> list[str]:
    return entry.key[len(base) + 1 :].split("/")


def _s3_folders(base: str, found: Sequence[Entry]) -> set[str]:
    within = (_shown_parents(entry.key, _below(entry, base)) for entry in found)
    return {base, *(folder for folders in within for folder in folders)}


def _listing(judged: Sequence[Entry | LeftOut]) -> Listing:
    read = (one for one in judged if isinstance(one, Entry))
    left_out = (one for one in judged if isinstance(one, LeftOut))
    return Listing(
        tuple(sorted(read, key=lambda entry: entry.key)),
        tuple(sorted(left_out, key=lambda one: one.address)),
    )
