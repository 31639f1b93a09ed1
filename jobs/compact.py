"""shardrank compact: rewrite and fold what an index stores; nothing is embedded."""

from shardrank.core.fingerprint import fingerprint
from shardrank.core.settings import Settings
from shardrank.flows.compact import compact_amount, compact_index, own_settings
from shardrank.jobs.console import ConsoleReporter, console
from shardrank.jobs.index import summary
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.executors import opened
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import open_version


def run(path: str, settings: Settings, verbose: bool) -> None:
    """Compact the latest version of INDEX into a new one and print what came of it."""
    workspace = open_workspace(path, settings)
    # Before the lock, which would make a folder of a mistyped path.
    amount = compact_amount(open_version(workspace))
    with (
        index_lock(workspace),
        opened(settings.cluster, amount, verbose) as executor,
        ConsoleReporter() as reporter,
    ):
        base = open_version(workspace)
        own = own_settings(base, settings)
        run_name = fingerprint({"compact": base.version.made.attempt, **own.audit.deciding()})
        published = compact_index(Context(workspace, run_name, own, executor, reporter), base)
    for line in summary(path, published):
        console().print(line)
