"""shardrank versions: the history of an index, from its manifests alone."""

from rich.table import Table

from shardrank.core.settings import Settings
from shardrank.core.times import clock
from shardrank.flows.upkeep import Past, history
from shardrank.jobs.console import console
from shardrank.report.figures import size
from shardrank.stages.run.workspace import open_workspace
from shardrank.version.manifest import Origin

COLUMNS = ("version", "when (UTC)", "by", "documents", "added", "changed", "deleted")


def run(path: str, settings: Settings) -> None:
    """Print one line a version, the latest last."""
    table = Table(*COLUMNS, "recall", "size", box=None)
    for found in history(open_workspace(path, settings)):
        table.add_row(*_row(found))
    console().print(table)


def _row(found: Past) -> list[str]:
    version = found.version
    if version is None:
        return [f"{found.number:06d}", "its manifest is damaged"]
    audit = version.index.audit
    changes = version.changes
    counts = [f"{n:,}" for n in (changes.added, changes.changed, changes.deleted)]
    recall = "exact" if audit.kind == "exact" else f"{audit.recall:.3f}"
    held = size(sum(ref.bytes for ref in version.files))
    documents = f"{version.live.documents:,}"
    who = _flow(version.made)
    return [f"{found.number:06d}", clock(version.made.time), who, documents, *counts, recall, held]


def _flow(made: Origin) -> str:
    return f"rollback to {made.rollback_to}" if made.rollback_to is not None else made.flow
