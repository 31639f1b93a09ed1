"""shardrank compact: rewrite and fold what an index stores; nothing is embedded."""

from shardrank.core.fingerprint import fingerprint
from shardrank.core.settings import Settings
from shardrank.flows.compact import compact_amount, compact_index, own_settings
from shardrank.flows.outcomes import published_outcome
from shardrank.flows.running import Asked, Command, announced, running
from shardrank.jobs.console import command_line, reporter_of
from shardrank.jobs.index import summary
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import open_version


def run(path: str, settings: Settings, verbose: bool, wait: bool) -> None:
    """Compact the latest version of INDEX into a new one and print what came of it."""
    workspace = open_workspace(path, settings)
    # Before the lock, which would make a folder of a mistyped path.
    amount = compact_amount(open_version(workspace))
    command = Command("compact", command_line(), workspace)
    log = reporter_of(settings)
    with (
        log,
        announced(command, settings, log) as reporter,
        index_lock(workspace, reporter.waits if wait else None),
    ):
        base = open_version(workspace)
        own = own_settings(base, settings)
        name = fingerprint({"compact": base.version.made.attempt, **own.audit.deciding()})
        asked = Asked("compact", command.said, workspace, name, own, amount, verbose)
        with running(asked, reporter) as context:
            published = compact_index(context, base, settings)
            context.watch.ends(published_outcome(published))
    log.close(summary(path, published))
