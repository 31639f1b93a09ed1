"""shardrank compact: rewrite and fold what an index stores; nothing is embedded."""

from shardrank.core.fingerprint import fingerprint
from shardrank.core.settings import Settings
from shardrank.flows.compact import compact_index, own_settings
from shardrank.jobs.console import ConsoleReporter, console
from shardrank.jobs.index import summary
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.cluster import connect
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import existing_versions, open_version


def run(path: str, settings: Settings, verbose: bool) -> None:
    """Compact the latest version of INDEX into a new one and print what came of it."""
    workspace = open_workspace(path, settings)
    existing_versions(workspace)  # before the lock, which would make a folder of a mistyped path
    with (
        index_lock(workspace),
        connect(settings.cluster, verbose) as resources,
        ConsoleReporter() as reporter,
    ):
        base = open_version(workspace)
        own = own_settings(base, settings)
        run_name = fingerprint({"compact": base.version.made.attempt, **own.audit.deciding()})
        published = compact_index(Context(workspace, run_name, own, resources, reporter), base)
    for line in summary(path, published):
        console().print(line)
