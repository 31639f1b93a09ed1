"""Looking after an index without a cluster: its history, rollback and garbage collection."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from shardrank.core.errors import CommitConflict, InputError
from shardrank.core.protocols import Entry
from shardrank.stages.index.publish import made_now, publish
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import (
    Published,
    existing_version,
    existing_versions,
    missing_files,
    read_version,
    readable_version,
    version_numbers,
)
from shardrank.version.manifest import Changes, Version, version_key
from shardrank.version.retention import Retention, garbage, kept_versions

#: Deletions between two looks whether a version was published meanwhile: a lease on S3 can be lost.
CHECK_EVERY = 500


@dataclass(frozen=True)
class Past:
    """A version of an index; none where its manifest is damaged."""

    number: int
    version: Version | None


def history(workspace: Workspace) -> list[Past]:
    """All versions, oldest first. Raises InputError where there is none."""
    return [Past(n, readable_version(workspace, n)) for n in existing_versions(workspace)]


def roll_back(workspace: Workspace, number: int, command: str) -> Published:
    """Publish an old version's content again, under the next number; nothing is copied.

    Args:
        workspace: of the index.
        number: of the old version.
        command: as the new version shows it.

    Raises:
        InputError: there is no such version, or garbage collection took some of its files.
        CommitConflict: another run published meanwhile.
    """
    old = existing_version(workspace, number)
    gone = missing_files(workspace, old)
    if gone:
        raise InputError(
            f"{len(gone)} of the {len(old.files)} files of version {number} are gone or damaged, "
            f"the first is {gone[0]}.",
            "Roll back to a later version: shardrank verify INDEX --version N checks one.",
        )
    documents = old.live.documents
    changes = Changes(rows=documents, unchanged=documents)
    now = made_now("rollback", old.made.run, command)
    made = replace(now, rollback_to=number, columns=old.made.columns)
    latest = version_numbers(workspace)[-1]
    return publish(workspace, replace(old, parent=latest, changes=changes, made=made))


@dataclass(frozen=True)
class Garbage:
    """What garbage collection takes: versions, then files; `kept` are the versions that stay."""

    kept: tuple[int, ...]
    versions: tuple[int, ...]
    files: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)


def find_garbage(workspace: Workspace, rule: Retention) -> Garbage:
    """What no kept version needs.

    Raises:
        InputError: there is no version.
        IntegrityError: a manifest is damaged, so that it cannot be told what it needs.
    """
    now = time.time()
    numbers = existing_versions(workspace)
    versions = {number: read_version(workspace, number) for number in numbers}
    made = {number: version.made.time for number, version in versions.items()}
    kept = kept_versions(made, rule, now)
    live = {ref.key for number in kept for ref in versions[number].files}
    runs = {versions[number].made.run for number in kept}
    files = garbage(workspace.storage.list(""), live, runs, now - rule.grace)
    gone = sorted(set(versions) - kept)
    return Garbage(tuple(sorted(kept)), tuple(gone), tuple(files))


def collect(
    workspace: Workspace, found: Garbage, watch: Callable[[Iterable[str]], Iterator[str]]
) -> None:
    """Delete it: manifests first, so that no version ever lists a file that is gone.

    A run that is killed here leaves files that the next one takes. `watch` passes the keys on.

    Raises:
        CommitConflict: another run published meanwhile; what it needs was not looked at.
    """
    keys = [version_key(number) for number in found.versions]
    # A unit's marker goes before what it vouches for: a marker alone would promise too much.
    files = sorted((entry.key for entry in found.files), key=lambda key: (not _marker(key), key))
    for number, key in enumerate(watch([*keys, *files])):
        if number % CHECK_EVERY == 0:
            _require_latest(workspace, found.kept[-1])
        workspace.storage.delete(key)


def _require_latest(workspace: Workspace, number: int) -> None:
    if version_numbers(workspace)[-1] != number:
        raise CommitConflict("Another run published meanwhile.", "Run gc again.")


def _marker(key: str) -> bool:
    return key.startswith("units/") and key.endswith(".json")
