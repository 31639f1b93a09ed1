"""publish: a version is committed by creating its manifest only if absent."""

import getpass
import os
import platform
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines import __version__
from pipelines.core.errors import AuditRefused, InputError, IntegrityError, RunFailed
from pipelines.core.schemas import REJECTED, SOURCES
from pipelines.core.sources import Listing
from pipelines.core.units import Done
from pipelines.core.version import Version, version_key, version_number
from pipelines.stages.runner import Context
from pipelines.stages.workspace import Workspace


@dataclass(frozen=True)
class Published:
    """A version and its number; `new` is false where it was there before.

    `offered` is what a run found when it came to the same content: its changes, and who it was.
    """

    number: int
    version: Version
    new: bool
    offered: Version | None = None

    @property
    def found(self) -> Version:
        """Whose changes tell of the run that ended here."""
        return self.offered or self.version


def publish(workspace: Workspace, version: Version) -> Published:
    """Commit the version under the number after its parent's, unless the parent says the same.

    Raises:
        AuditRefused: the audit found no setting that reaches the target.
        CommitConflict: another run committed this number first; run again on top of it.
        CommitStateUnknown: the storage failed, and so did looking whether the commit had landed.
    """
    _require_audit(version)
    if version.parent:
        parent = readable_version(workspace, version.parent)
        if parent and parent.content() == version.content():
            return Published(version.parent, parent, new=False, offered=version)
    number = version.parent + 1
    _require_files(workspace, version)
    workspace.storage.create(version_key(number), version.to_bytes())
    return Published(number, version, new=True)


def _require_files(workspace: Workspace, version: Version) -> None:
    """Garbage collection beside a run, which S3 cannot lock out, must not end in a version."""
    gone = missing_files(workspace, version)
    if gone:
        raise RunFailed(
            f"{len(gone)} of the version's {len(version.files)} files are gone, the first is "
            f"{gone[0]}: was garbage collected meanwhile?",
            "Run it again: it makes what is missing.",
        )


def missing_files(workspace: Workspace, version: Version) -> list[str]:
    """Keys of the version's files that are not there with their length; by listings alone."""
    folders = {ref.key.split("/")[0] for ref in version.files}
    there = {e.key: e.bytes for folder in folders for e in workspace.storage.list(folder)}
    return [ref.key for ref in version.files if there.get(ref.key) != ref.bytes]


def _require_audit(version: Version) -> None:
    audit = version.audit
    if audit["recall"] >= audit["target"]:
        return
    raise AuditRefused(
        f"The audit found Recall@{audit['k']} {audit['recall']:.3f} at the greatest effort "
        f"(nprobe {audit['nprobe']}, depth {audit['depth']}), below the target "
        f"{audit['target']:g}; nothing was published.",
        "Raise index.bytes_per_vector or audit.max_depth, or lower audit.target.",
    )


def readable_version(workspace: Workspace, number: int) -> Version | None:
    """None where its manifest is damaged: going back to a sound version must not need it."""
    try:
        return read_version(workspace, number)
    except IntegrityError:
        return None


def version_numbers(workspace: Workspace) -> list[int]:
    """Of all committed versions, ascending; also of those that a stale listing does not show yet.

    A newest version that went unseen would cost gc its files: it may keep none but old ones.
    """
    listed = (version_number(entry.key) for entry in workspace.storage.list("manifests"))
    numbers = sorted(number for number in listed if number is not None)
    latest = numbers[-1] if numbers else 0
    while workspace.storage.exists(version_key(latest + 1)):
        latest += 1
        numbers.append(latest)
    return numbers


def read_version(workspace: Workspace, number: int) -> Version:
    """The version of that number. Raises InputError where it was never committed."""
    key = version_key(number)
    return Version.parse(workspace.storage.read(key), key)


def latest_version(workspace: Workspace) -> Published | None:
    """What readers see; None where nothing was published yet."""
    numbers = version_numbers(workspace)
    if not numbers:
        return None
    return Published(numbers[-1], read_version(workspace, numbers[-1]), new=False)


def existing_versions(workspace: Workspace) -> list[int]:
    """The numbers of all versions, ascending. Raises InputError where there is none."""
    numbers = version_numbers(workspace)
    if not numbers:
        raise InputError(
            f"{workspace.storage.root} holds no published version of an index.",
            "Build one first: shardrank index CORPUS INDEX.",
        )
    return numbers


def open_version(workspace: Workspace) -> Published:
    """The latest version. Raises InputError where the folder is no index, or has no version."""
    number = existing_versions(workspace)[-1]
    return Published(number, read_version(workspace, number), new=False)


def made_by(flow: str, run: str, **more: Any) -> dict[str, Any]:
    """Who makes a version, when and how; `attempt` tells apart two that try at once."""
    return {
        "flow": flow,
        "run": run,
        "attempt": uuid.uuid4().hex,
        "time": time.time(),
        "by": f"{_user()}@{platform.node()}",
        "shardrank": __version__,
        **more,
    }


def met_columns(version: Version) -> list[str]:
    """The columns that the settings of its run, or of one before, named and files have had."""
    return list(version.made.get("columns", ()))


def _user() -> str:
    """Who runs this; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def index_lock(workspace: Workspace) -> AbstractContextManager[None]:
    """One writer at a time on one INDEX. Raises CommitConflict where one is at work."""
    return workspace.storage.lock("runs/lock")


def keep_listing(context: Context, listing: Listing) -> None:
    """Write runs/RUN/sources.parquet (SOURCES): the files read, then those left out, and why."""
    read = [{"source": entry.key, "bytes": entry.bytes, "reason": None} for entry in listing.read]
    left = [{"source": o.address, "bytes": None, "reason": o.reason} for o in listing.left_out]
    table = pa.Table.from_pylist([*read, *left], SOURCES)
    context.workspace.write_table(f"runs/{context.run}/sources.parquet", table)


def set_aside(context: Context, stage: str, dones: Sequence[Done]) -> int:
    """Gather a stage's rejected rows in runs/RUN/rejected/STAGE.parquet; returns their number."""
    workspace = context.workspace
    refs = [done.outputs["rejected"] for done in dones if done.outputs["rejected"].rows]
    tables = [REJECTED.empty_table(), *(workspace.read_table(ref) for ref in refs)]
    rejected = pa.concat_tables(tables)
    if rejected.num_rows:
        workspace.write_table(f"runs/{context.run}/rejected/{stage}.parquet", rejected)
    return int(rejected.num_rows)
