"""shardrank versions: the history of an index, from its manifests alone."""

import time
from collections.abc import Mapping

from rich.table import Table

from shardrank.core.settings import Settings
from shardrank.flows.upkeep import Past, history
from shardrank.jobs.console import console
from shardrank.stages.run.workspace import open_workspace

COLUMNS = ("version", "when (UTC)", "by", "documents", "added", "changed", "deleted")


def run(path: str, settings: Settings) -> None:
    """Print one line a version, the latest last."""
    table = Table(*COLUMNS, "recall", "MB", box=None)
    for found in history(open_workspace(path, settings)):
        table.add_row(*_row(found))
    console().print(table)


def _row(found: Past) -> list[str]:
    version = found.version
    if version is None:
        return [f"{found.number:06d}", "its manifest is damaged"]
    audit = version.audit
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(version.made["time"]))
    counts = [f"{version.changes[name]:,}" for name in ("added", "changed", "deleted")]
    recall = "exact" if audit["kind"] == "exact" else f"{audit['recall']:.3f}"
    size = sum(ref.bytes for ref in version.files) / 1e6
    documents = f"{version.live.documents:,}"
    who = _flow(version.made)
    return [f"{found.number:06d}", when, who, documents, *counts, recall, f"{size:,.1f}"]


def _flow(made: Mapping[str, object]) -> str:
    return f"rollback to {made['rollback_to']}" if "rollback_to" in made else str(made["flow"])
