"""Looking after an index without a cluster: its history, rollback and garbage collection."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pipelines.core.errors import InputError
from pipelines.core.protocols import Entry
from pipelines.core.retention import Retention, garbage, kept_versions
from pipelines.core.version import Version, version_key
from pipelines.stages.publish import (
    Published,
    made_by,
    open_version,
    publish,
    read_version,
    version_numbers,
)
from pipelines.stages.workspace import Workspace


def history(workspace: Workspace) -> list[Published]:
    """All versions, oldest first. Raises InputError where there is none."""
    open_version(workspace)
    numbers = version_numbers(workspace)
    return [Published(number, read_version(workspace, number), new=False) for number in numbers]


def roll_back(workspace: Workspace, number: int) -> Published:
    """Publish an old version's content again, under the next number; nothing is copied.

    Raises:
        InputError: there is no such version, or garbage collection took some of its files.
        CommitConflict: another run published meanwhile.
    """
    latest, old = open_version(workspace), _existing(workspace, number)
    _require_files(workspace, number, old)
    made = made_by("rollback", old.made["run"], rollback_to=number)
    return publish(workspace, replace(old, parent=latest.number, made=made))


def _existing(workspace: Workspace, number: int) -> Version:
    numbers = version_numbers(workspace)
    if number not in numbers:
        raise InputError(
            f"{workspace.storage.root} has no version {number}; it has "
            f"{', '.join(map(str, numbers))}.",
            "See shardrank versions INDEX.",
        )
    return read_version(workspace, number)


def _require_files(workspace: Workspace, number: int, version: Version) -> None:
    folders = {ref.key.split("/")[0] for ref in version.files}
    there = {e.key: e.bytes for folder in folders for e in workspace.storage.list(folder)}
    gone = [ref.key for ref in version.files if there.get(ref.key) != ref.bytes]
    if gone:
        raise InputError(
            f"{len(gone)} of the {len(version.files)} files of version {number} are gone or "
            f"damaged, the first is {gone[0]}.",
            "Roll back to a later version: shardrank verify INDEX --version N checks one.",
        )


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
    """What no kept version needs. Raises InputError where there is no version."""
    now = time.time()
    versions = {found.number: found.version for found in history(workspace)}
    made = {number: float(version.made["time"]) for number, version in versions.items()}
    kept = kept_versions(made, rule, now)
    live = {ref.key for number in kept for ref in versions[number].files}
    runs = {str(versions[number].made["run"]) for number in kept}
    files = garbage(workspace.storage.list(""), live, runs, now - rule.grace)
    gone = sorted(set(versions) - kept)
    return Garbage(tuple(sorted(kept)), tuple(gone), tuple(files))


def collect(
    workspace: Workspace, found: Garbage, watch: Callable[[Iterable[str]], Iterator[str]]
) -> None:
    """Delete it: manifests first, so that no version ever lists a file that is gone.

    A run that is killed here leaves files that the next one takes. `watch` passes the keys on.
    """
    keys = [version_key(number) for number in found.versions]
    # A unit's marker goes before what it vouches for: a marker alone would promise too much.
    files = sorted((entry.key for entry in found.files), key=lambda key: (not _marker(key), key))
    for key in watch([*keys, *files]):
        workspace.storage.delete(key)


def _marker(key: str) -> bool:
    return key.startswith("units/") and key.endswith(".json")
