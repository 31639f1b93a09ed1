"""publish: a version is committed by creating its manifest only if absent."""

import getpass
import os
import platform
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pyarrow as pa

from shardrank import __version__
from shardrank.core.errors import AuditRefused, RunFailed
from shardrank.core.files import FileRef
from shardrank.core.schemas import REJECTED, SOURCES
from shardrank.core.source_files import Listing
from shardrank.core.units import Done
from shardrank.stages.run.locks import held
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.versions import Published, missing_files, readable_version
from shardrank.version.indexes import Audit
from shardrank.version.manifest import Origin, Version, version_key


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
    """Garbage collection beside a run, whose lease S3 cannot enforce, must not end in a version."""
    gone = missing_files(workspace, version)
    if gone:
        raise RunFailed(
            f"{len(gone)} of the version's {len(version.files)} files are gone, the first is "
            f"{gone[0]}: was garbage collected meanwhile?",
            "Run it again: it makes what is missing.",
        )


def _require_audit(version: Version) -> None:
    recall = {name: index.audit.recall for name, index in version.indexes.items()}
    for index in version.indexes.values():
        if index.audit.recall < index.audit.target:
            raise _too_low(index.audit, recall)


def _too_low(audit: Audit, recall: Mapping[str, float]) -> AuditRefused:
    return AuditRefused(
        f"The audit found Recall@{audit.k} {audit.recall:.3f} at the greatest effort "
        f"(nprobe {audit.nprobe}, depth {audit.depth}), below the target "
        f"{audit.target:g}; nothing was published.",
        f"{_more(audit)}audit.max_depth, or lower audit.target.",
        recall,
    )


def _more(audit: Audit) -> str:
    """What makes an index of this kind find more, beside more candidates."""
    others = {"plaid": "", "binary": "bits of the codes or "}
    return f"Raise {others.get(audit.kind, 'index.bytes_per_vector or ')}"


def made_now(flow: str, run: str, command: str) -> Origin:
    """The origin of a version that this process makes, in an attempt of its own."""
    return Origin(
        flow=flow,
        run=run,
        attempt=uuid.uuid4().hex,
        time=time.time(),
        by=who(),
        shardrank=__version__,
        command=command,
    )


def who() -> str:
    """Who runs this, and on which machine: user@host."""
    return f"{_user()}@{platform.node()}"


def _user() -> str:
    """Who runs this; containers often run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def index_lock(
    workspace: Workspace, wait: Callable[[str], None] | None = None
) -> AbstractContextManager[bool]:
    """One writer at a time on one INDEX; see `held`."""
    return held(workspace, "runs/lock", wait)


def keep_listing(context: Context, listing: Listing) -> None:
    """Write runs/RUN/sources.parquet (SOURCES): the files read, then those left out, and why."""
    read = [{"source": entry.key, "bytes": entry.bytes, "reason": None} for entry in listing.read]
    left = [{"source": o.address, "bytes": None, "reason": o.reason} for o in listing.left_out]
    table = pa.Table.from_pylist([*read, *left], SOURCES)
    context.workspace.write_table(f"runs/{context.run}/sources.parquet", table)


class Rejecting(Protocol):
    """What a unit made, of a stage that sets rows aside."""

    @property
    def rejected(self) -> FileRef:
        """REJECTED."""


def set_aside(context: Context, stage: str, dones: Sequence[Done[Rejecting]]) -> int:
    """Gather a stage's rejected rows in runs/RUN/rejected/STAGE.parquet; returns their number."""
    workspace = context.workspace
    refs = [done.made.rejected for done in dones if done.made.rejected.rows]
    tables = [REJECTED.empty_table(), *(workspace.read_table(ref) for ref in refs)]
    rejected = pa.concat_tables(tables)
    context.watch.rejected(stage, Counter(rejected["reason"].to_pylist()))
    if rejected.num_rows:
        workspace.write_table(f"{rejected_folder(context.run)}/{stage}.parquet", rejected)
    return int(rejected.num_rows)


def rejected_folder(run: str) -> str:
    """Where a run's rejected rows lie."""
    return f"runs/{run}/rejected"


def rejected_reasons(workspace: Workspace, run: str) -> dict[str, int]:
    """How many rows a run rejected, by reason, the commonest first."""
    counts = Counter[str]()
    for entry in workspace.storage.list(rejected_folder(run)):
        for row in workspace.read_unchecked(entry.key)["reason"].value_counts().to_pylist():
            counts[row["values"]] += row["counts"]
    return dict(counts.most_common())


def rejected_told(workspace: Workspace, run: str) -> str:
    """How many rows by which reason, and where they are listed."""
    reasons = rejected_reasons(workspace, run)
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return f"{counts}; row by row in {workspace.storage.root}/{rejected_folder(run)}/"
