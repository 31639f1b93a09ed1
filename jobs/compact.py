"""shardrank compact: rewrite and fold what an index stores; nothing is embedded."""

from jobs.console import ConsoleReporter, console
from jobs.index import summary
from pipelines.compacting import compact_index, own_settings
from pipelines.core.fingerprint import fingerprint
from pipelines.core.settings import Settings
from pipelines.stages.cluster import connect
from pipelines.stages.publish import existing_versions, index_lock, open_version
from pipelines.stages.runner import Context
from pipelines.stages.workspace import open_workspace


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
        run_name = fingerprint({"compact": base.version.made["attempt"], **own.audit.deciding()})
        published = compact_index(Context(workspace, run_name, own, resources, reporter), base)
    for line in summary(path, published):
        console().print(line)
