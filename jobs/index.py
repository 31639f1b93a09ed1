"""shardrank index: build or update an index."""

from shardrank import api
from shardrank.api import Indexed
from shardrank.core.model_settings import DENSE
from shardrank.core.settings import Settings
from shardrank.corpus.changes import Mode
from shardrank.jobs.console import command_line, reporter_of
from shardrank.jobs.source_lines import left_out_line
from shardrank.stages.index.publish import rejected_told
from shardrank.stages.run.workspace import Workspace, open_workspace
from shardrank.stages.shared.versions import Published
from shardrank.version.indexes import Audit, Index
from shardrank.version.manifest import Changes, Version
from shardrank.version.mapped import mapped_documents
from shardrank.version.parts import Counts

#: Of the encoder, on average, of texts with spaces between words: about 2.5 in English, whose stop
#: words are not counted, and 15 in Japanese.
TOKENS_A_WORD = 6


def run(
    corpus: str, path: str, mode: Mode, settings: Settings, verbose: bool, wait: bool = False
) -> None:
    """Index CORPUS into INDEX and print what came of it."""
    with reporter_of(settings) as reporter:
        found = api.index(
            corpus,
            path,
            mode=mode,
            settings=settings,
            reporter=reporter,
            wait=wait,
            verbose=verbose,
            command=command_line(),
        )
    rejected = _rejected(open_workspace(path, settings), found)
    reporter.close([*summary(path, found.published), *rejected, *_left_out(path, found)])


def _rejected(index: Workspace, found: Indexed) -> list[str]:
    if not found.changes.rejected:
        return []
    return [f"  rejected   {rejected_told(index, found.run)}"]


def _left_out(path: str, found: Indexed) -> list[str]:
    if not found.listing.left_out:
        return []
    said = left_out_line(found.listing)
    return [f"  left out   {said}; files in {path}/runs/{found.run}/sources.parquet"]


def summary(path: str, published: Published) -> list[str]:
    """What a version holds, and what it changed, in a few lines."""
    version, live, changes = published.version, published.version.live, published.found.changes
    state = "published" if published.new else "is already the latest; nothing changed"
    found = _audited(version.index.audit)
    return [
        f"Version {published.number:06d} of {path} {state}.",
        f"  rows       {_rows(changes)}",
        f"  documents  {live.documents:,} ({changes.deleted:,} deleted)",
        f"  passages   {live.passages:,} in {len(version.parts):,} parts,"
        f" {_shards(version):,} shards; {changes.embedded:,} embedded,"
        f" {live.truncated:,} truncated",
        f"  index      {version.index.plan.kind}; {found}",
        *_further_lines(version),
        *_mapped_lines(version),
    ]


def _mapped_lines(version: Version) -> list[str]:
    mapped = version.mapped
    if mapped is None:
        return []
    left, target = mapped_documents(version.parts), mapped.settings.target
    return [
        f"  mapped     {left:,} of {version.live.documents:,} documents, {mapped.kind} map from "
        f"{mapped.before.name}: Recall@10 {mapped.recall:.3f} (target {target:g})"
        + (f"; {mapped.not_finite:,} of its sample not_finite" if mapped.not_finite else "")
    ]


def _audited(audit: Audit) -> str:
    if audit.kind == "exact":
        return "exact search"
    effort = f"nprobe {audit.nprobe}, " if audit.kind != "binary" else ""
    reached = f"Recall@{audit.k} {audit.recall:.3f} (target {audit.target:g})"
    return f"{reached} at {effort}depth {audit.depth}"


def _shards(version: Version) -> int:
    return sum(len(index.shards) for index in version.indexes.values())


def _further_lines(version: Version) -> list[str]:
    others = [index for name, index in sorted(version.indexes.items()) if name != DENSE]
    return [line for index in others for line in _further(index, version.live)]


def _further(index: Index, live: Counts) -> list[str]:
    line = f"  index      {index.plan.kind}, over {index.column}"
    counts = index.counts
    if counts is None:
        return [f"{line}; {_audited(index.audit)}" if index.audit.points else line]
    a_passage = counts.words / max(1, counts.passages)
    found = [f"{line}: {counts.terms.rows:,} different words, {a_passage:.1f} a passage"]
    tokens = live.tokens / max(1, counts.words)
    if tokens > TOKENS_A_WORD:
        found.append(
            f"             The encoder sees {tokens:.0f} tokens for each word: BM25 finds little "
            "where words have no spaces between them."
        )
    return found


def _rows(changes: Changes) -> str:
    """The equation of a run's rows; kinds of which there are none are left out."""
    kinds = (
        "added",
        "changed",
        "backfilled",
        "unchanged",
        "tombstones",
        "superseded",
        "rejected",
    )
    counts = {kind: getattr(changes, kind) for kind in kinds}
    counts["changed"] -= changes.backfilled  # whose content is as before
    shown = [f"{count:,} {kind}" for kind, count in counts.items() if count]
    return f"{changes.rows:,} = {' + '.join(shown) or '0'}"
