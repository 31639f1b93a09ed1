"""publish: a version is committed by creating its manifest only if absent."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.core.errors import AuditRefused, InputError
from pipelines.core.schemas import REJECTED
from pipelines.core.units import Done
from pipelines.core.version import Version, version_key, version_number
from pipelines.stages.runner import Context
from pipelines.stages.workspace import Workspace


@dataclass(frozen=True)
class Published:
    """A version and its number; `new` is false where an equal version was already the latest."""

    number: int
    version: Version
    new: bool


def publish(context: Context, version: Version) -> Published:
    """Commit the version, unless the latest one already says the same.

    Raises:
        AuditRefused: the audit found no setting that reaches the target.
        CommitConflict: another run committed this number first.
    """
    _require_audit(version)
    workspace = context.workspace
    number = latest_number(workspace)
    if number:
        latest = read_version(workspace, number)
        if latest.content() == version.content():
            return Published(number, latest, new=False)
    workspace.storage.create(version_key(number + 1), version.to_bytes())
    return Published(number + 1, version, new=True)


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


def latest_number(workspace: Workspace) -> int:
    """The highest committed version's number; 0 where there is none."""
    numbers = (version_number(entry.key) for entry in workspace.storage.list("manifests"))
    return max((number for number in numbers if number is not None), default=0)


def read_version(workspace: Workspace, number: int) -> Version:
    """The version of that number. Raises InputError where it was never committed."""
    key = version_key(number)
    return Version.parse(workspace.storage.read(key), key)


def open_version(workspace: Workspace) -> Published:
    """The latest version. Raises InputError where the folder is no index, or has no version."""
    number = latest_number(workspace)
    if not number:
        root = workspace.storage.root
        raise InputError(
            f"{root} holds no published version of an index.",
            "Build one first: shardrank index CORPUS INDEX.",
        )
    return Published(number, read_version(workspace, number), new=False)


def set_aside(context: Context, stage: str, dones: Sequence[Done]) -> int:
    """Gather a stage's rejected rows in runs/RUN/rejected/STAGE.parquet; returns their number."""
    workspace = context.workspace
    refs = [done.outputs["rejected"] for done in dones if done.outputs["rejected"].rows]
    tables = [REJECTED.empty_table(), *(workspace.read_table(ref) for ref in refs)]
    rejected = pa.concat_tables(tables)
    if rejected.num_rows:
        workspace.write_table(f"runs/{context.run}/rejected/{stage}.parquet", rejected)
    return int(rejected.num_rows)
