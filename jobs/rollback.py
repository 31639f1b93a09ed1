"""shardrank rollback: make an old version the latest again."""

from shardrank.core.settings import Settings
from shardrank.flows.upkeep import roll_back
from shardrank.jobs.console import command_line, console, error_console
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import existing_versions


def run(path: str, number: int, settings: Settings, wait: bool) -> None:
    """Publish version NUMBER again, under the next number."""
    workspace = open_workspace(path, settings)
    existing_versions(workspace)  # before the lock, which would make a folder of any mistyped path
    with index_lock(workspace, error_console().print if wait else None):
        published = roll_back(workspace, number, command_line())
    if published.new:
        say = f"Version {published.number:06d} of {path} has the content of {number:06d}."
    else:
        say = f"Version {published.number:06d} of {path} has that content already."
    console().print(say)
