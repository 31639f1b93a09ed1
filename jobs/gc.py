"""shardrank gc: delete what no kept version needs."""

from rich.progress import track

from shardrank.core.settings import Settings
from shardrank.flows.upkeep import Garbage, collect, find_garbage
from shardrank.jobs.console import console, error_console
from shardrank.report.figures import size
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import existing_versions
from shardrank.version.retention import Retention


def run(path: str, rule: Retention, delete: bool, settings: Settings, wait: bool) -> None:
    """Print what would go, and with `delete` let it go."""
    workspace = open_workspace(path, settings)
    existing_versions(workspace)  # before the lock, which would make a folder of any mistyped path
    with index_lock(workspace, error_console().print if wait else None):
        found = find_garbage(workspace, rule)
        if delete:
            collect(
                workspace,
                found,
                lambda keys: iter(
                    track(
                        list(keys),
                        "gc",
                        console=error_console(),
                        disable=not error_console().is_terminal,
                    )
                ),
            )
    console().print(_say(path, found, delete))


def _say(path: str, found: Garbage, deleted: bool) -> str:
    verb = "Deleted" if deleted else "Would delete"
    more = "" if deleted or not (found.files or found.versions) else " Repeat with --delete."
    kept = ", ".join(f"{number:06d}" for number in found.kept)
    return (
        f"{verb} {len(found.versions)} versions and {len(found.files):,} files, "
        f"{size(found.bytes)}, of {path}; kept versions: {kept}.{more}"
    )
