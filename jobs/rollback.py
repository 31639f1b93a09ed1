"""shardrank rollback: make an old version the latest again."""

from jobs.console import console
from pipelines.core.settings import Settings
from pipelines.stages.publish import existing_versions, index_lock
from pipelines.stages.workspace import open_workspace
from pipelines.upkeep import roll_back


def run(path: str, number: int, settings: Settings) -> None:
    """Publish version NUMBER again, under the next number."""
    workspace = open_workspace(path, settings)
    existing_versions(workspace)  # before the lock, which would make a folder of any mistyped path
    with index_lock(workspace):
        published = roll_back(workspace, number)
    if published.new:
        say = f"Version {published.number:06d} of {path} has the content of {number:06d}."
    else:
        say = f"Version {published.number:06d} of {path} has that content already."
    console().print(say)
