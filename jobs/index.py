"""shardrank index: build or update an index."""

from shardrank.core.settings import Settings
from shardrank.corpus.changes import Mode
from shardrank.flows.index import IndexPlan, index, plan_indexing
from shardrank.jobs.console import ConsoleReporter, console, print_notes
from shardrank.jobs.source_lines import left_out_line
from shardrank.models.notes import encoder_notes
from shardrank.stages.index.publish import index_lock
from shardrank.stages.run.executors import opened
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import Published, version_numbers
from shardrank.version.manifest import Changes


def run(corpus: str, path: str, mode: Mode, settings: Settings, verbose: bool) -> Published:
    """Index CORPUS into INDEX and print what came of it."""
    workspace = open_workspace(path, settings)
    plan = plan_indexing(corpus, workspace, mode, settings)
    print_notes(encoder_notes(plan.settings.encoder))
    with (
        index_lock(workspace),
        opened(settings.cluster, plan.amount, verbose) as executor,
        ConsoleReporter() as reporter,
    ):
        if plan.parent != max(version_numbers(workspace), default=0):
            # Another run published between the plan and the lock: build on its version.
            plan = plan_indexing(corpus, workspace, mode, settings)
        context = Context(workspace, plan.run, plan.settings, executor, reporter)
        context.refuse_impossible()
        published = index(context, plan)
    for line in [*summary(path, published), *_left_out(path, plan)]:
        console().print(line)
    return published


def _left_out(path: str, plan: IndexPlan) -> list[str]:
    if not plan.listing.left_out:
        return []
    said = left_out_line(plan.listing)
    return [f"  left out   {said}; files in {path}/runs/{plan.run}/sources.parquet"]


def summary(path: str, published: Published) -> list[str]:
    """What a version holds, and what it changed, in a few lines."""
    version, live, changes = published.version, published.version.live, published.found.changes
    state = "published" if published.new else "is already the latest; nothing changed"
    audit = version.index.audit
    found = (
        "exact search"
        if audit.kind == "exact"
        else f"Recall@{audit.k} {audit.recall:.3f} (target {audit.target:g}) "
        f"at nprobe {audit.nprobe}, depth {audit.depth}"
    )
    return [
        f"Version {published.number:06d} of {path} {state}.",
        f"  rows       {_rows(changes)}",
        f"  documents  {live.documents:,} ({changes.deleted:,} deleted)",
        f"  passages   {live.passages:,} in {len(version.parts):,} parts,"
        f" {len(version.index.shards):,} shards; {changes.embedded:,} embedded,"
        f" {live.truncated:,} truncated",
        f"  index      {version.index.plan.kind}; {found}",
        *_rejected_line(published, path),
    ]


def _rows(changes: Changes) -> str:
    """The equation of a run's rows; kinds of which there are none are left out."""
    kinds = ("added", "changed", "unchanged", "tombstones", "superseded", "rejected")
    counts = {kind: getattr(changes, kind) for kind in kinds}
    shown = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    return f"{changes.rows:,} = {' + '.join(shown) or '0'}"


def _rejected_line(published: Published, path: str) -> list[str]:
    if not published.found.changes.rejected:
        return []
    run = published.found.made.run
    return [f"  rejected   reasons in {path}/runs/{run}/rejected/"]
