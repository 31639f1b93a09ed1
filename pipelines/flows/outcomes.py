"""What a finished flow tells of its end: in its record, its metrics and its events."""

from dataclasses import fields

from shardrank.core.outcomes import Outcome
from shardrank.flows.label_plan import Labelled
from shardrank.flows.rank_plan import Ranked
from shardrank.stages.shared.versions import Published
from shardrank.version.mapped import mapped_documents


def published_outcome(published: Published) -> Outcome:
    """How a run ended that made a version, or found the latest to be what it would have made."""
    version, changes = published.version, published.found.changes
    counts = {
        "documents": version.live.documents,
        "passages": version.live.passages,
        "embedded": changes.embedded,
        "rows": changes.rows,
        "rejected": changes.rejected,
    }
    if version.mapped:
        counts["mapped"] = mapped_documents(version.parts)
    said = f"Version {published.number:06d} " + ("published." if published.new else "stays.")
    return Outcome(
        "published" if published.new else "unchanged",
        0,
        said,
        version=published.number,
        recall={name: index.audit.recall for name, index in version.indexes.items()},
        counts=counts,
    )


def ranked_outcome(ranked: Ranked) -> Outcome:
    """How a run ended that ranked queries."""
    counts = ranked.counts
    told = {name: getattr(counts, name) for name in ("queries", "ranked", "pairs", "truncated")}
    return Outcome(
        "done",
        0,
        f"{counts.ranked:,} queries ranked.",
        counts=told | {"rejected": sum(counts.rejected.values())},
    )


def labelled_outcome(labelled: Labelled) -> Outcome:
    """How a run ended that made labels."""
    counts = labelled.counts
    told = {f.name: getattr(counts, f.name) for f in fields(counts) if f.type in ("int", int)}
    return Outcome("done", 0, f"{counts.rows:,} rows of {labelled.manifest.format}.", counts=told)
