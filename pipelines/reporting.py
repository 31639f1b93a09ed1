"""From what a run left on storage to its report.html."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import __version__
from pipelines.core.audit import AuditPoint
from pipelines.core.evaluation import coverage
from pipelines.core.settings import Settings
from pipelines.core.units import total
from pipelines.core.version import Version
from pipelines.corpus.keys import LENGTH_STEP
from pipelines.ranking import Ranked, RankPlan
from pipelines.report.data import (
    AuditCurve,
    Counts,
    Example,
    Flow,
    Histogram,
    Line,
    ReportData,
    StageTime,
    even_edges,
    snippet,
)
from pipelines.report.page import render
from pipelines.stages.workspace import Workspace

EXAMPLES = 5
LINES = 5


@dataclass(frozen=True)
class Finished:
    """A finished rank run: its plan, its markers, its metrics, and how it was called."""

    plan: RankPlan
    ranked: Ranked
    metrics: Mapping[str, Mapping[str, float]] | None
    settings: Settings
    command: str


def write_report(workspace: Workspace, finished: Finished) -> None:
    """Write OUT/report.html."""
    page = render(report_data(workspace, finished))
    workspace.storage.write("report.html", page.encode("utf-8"))


def report_data(workspace: Workspace, finished: Finished) -> ReportData:
    """All that the page shows, read from the index and the output."""
    plan, version = finished.plan, finished.plan.published.version
    rankings = _rankings(workspace, finished.ranked)
    index_run = str(version.made["run"])
    judged = list(plan.judgements)
    return ReportData(
        title="shardrank report",
        created=time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        command=finished.command,
        versions=_versions(finished),
        settings=_settings(finished),
        counts=_counts(version, finished.ranked, plan.queries.table.num_rows),
        stages=(
            *_stages(plan.index, index_run, "index"),
            *_stages(workspace, plan.run, "rank"),
        ),
        audit=_audit(version.audit),
        lengths=_lengths(version.lengths),
        retrieval_scores=_histogram(rankings["retrieval_score"]),
        rerank_logits=_histogram(rankings["rerank_score"].drop_null()),
        metrics=finished.metrics,
        coverage=coverage(rankings, judged) if judged else None,
        rejected_by_reason=_rejected(plan.index, index_run),
        examples=tuple(_examples(plan, rankings)),
    )


def _rankings(workspace: Workspace, ranked: Ranked) -> pa.Table:
    refs = (done.outputs["rankings"] for done in ranked.collated)
    return pa.concat_tables([workspace.read_table(ref) for ref in refs])


def _versions(finished: Finished) -> dict[str, str]:
    plan = finished.plan
    reranker = plan.reranker.name if plan.reranker else "none"
    return {
        "shardrank": __version__,
        "index version": f"{plan.published.number:06d}",
        "encoder": f"{plan.card.name} ({plan.card.fingerprint[:8]}, {plan.card.dtype})",
        "reranker": f"{reranker} ({plan.reranker.fingerprint[:8]})" if plan.reranker else reranker,
    }


def _settings(finished: Finished) -> dict[str, str]:
    plan, settings = finished.plan, finished.settings
    index = plan.published.version.index
    shown: dict[str, Any] = {
        "index.kind": index["kind"],
        "search.k": settings.search.k,
        "reranker.depth": settings.reranker.depth if plan.reranker else "—",
        "reranker.interpolation": plan.reranker.interpolation if plan.reranker else "—",
        "encoder.max_tokens": plan.card.max_tokens,
    }
    if index["kind"] == "ivfpq":
        shown |= {"index.pq_m": index["pq_m"], "index.opq": index["opq"]}
    if index["kind"] != "exact":
        shown |= {
            "index.nlist": index["nlist"],
            "search.nprobe": plan.how.nprobe,
            "search.depth": plan.how.depth,
        }
    return {name: str(value) for name, value in shown.items()}


def _counts(version: Version, ranked: Ranked, queries: int) -> Counts:
    live, changes = version.live, version.changes
    return Counts(
        rows=changes["rows"],
        accepted=sum(changes[n] for n in ("added", "changed", "unchanged", "tombstones")),
        rejected=changes["rejected"],
        documents=live.documents,
        passages=live.passages,
        truncated=live.truncated,
        queries=queries,
        pairs=total(ranked.reranked, "rows"),
    )


def _stages(workspace: Workspace, run: str, flow: Flow) -> list[StageTime]:
    entries = workspace.storage.list(f"runs/{run}/stages")
    records = [workspace.read_json(entry.key) for entry in entries]
    return [
        StageTime(
            flow, r["stage"], len(r["units"]), r["resumed"], r["rows"], float(r["seconds"] or 0)
        )
        for r in sorted(records, key=lambda record: record["began"])
    ]


def _audit(audit: Mapping[str, Any]) -> AuditCurve:
    points = tuple(AuditPoint(**point) for point in audit["points"])
    chosen = (audit["nprobe"], audit["depth"]) if points else None
    return AuditCurve(audit["k"], audit["target"], points, chosen, audit["kind"])


def _lengths(lengths: Mapping[str, int]) -> Histogram:
    """The stored classes as a histogram; empty classes in between count 0."""
    lows = sorted(int(low) for low in lengths)
    edges = range(lows[0], lows[-1] + 2 * LENGTH_STEP, LENGTH_STEP)
    counts = tuple(lengths.get(str(low), 0) for low in edges[:-1])
    return Histogram(tuple(float(edge) for edge in edges), counts)


def _histogram(values: pa.ChunkedArray) -> Histogram | None:
    if not len(values):
        return None
    array = values.to_numpy()
    return Histogram.of(array, even_edges(float(array.min()), float(array.max())))


def _rejected(index: Workspace, run: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in index.storage.list(f"runs/{run}/rejected"):
        table = index.read_unchecked(entry.key)
        for row in table["reason"].value_counts().to_pylist():
            counts[row["values"]] = counts.get(row["values"], 0) + row["counts"]
    return counts


def _examples(plan: RankPlan, rankings: pa.Table) -> list[Example]:
    """The queries whose order changed most, which are the ones worth a look; where there are
    judgements, those among them that show a relevant document."""
    relevant = {(j.query_id, j.doc_id): j.relevance > 0 for j in plan.judgements}
    query_ids = _most_moved(_telling(rankings, relevant))
    texts = {row["query_id"]: row["text"] for row in plan.queries.table.to_pylist()}
    shown = rankings.filter(pc.is_in(rankings["query_id"], pa.array(query_ids, pa.string())))
    near = pc.or_(
        pc.less_equal(shown["rank"], LINES), pc.less_equal(shown["retrieval_rank"], LINES)
    )
    rows = shown.filter(near).to_pylist()
    passages = _passages(plan, {(row["doc_id"], row["passage"]) for row in rows})
    return [_example(query_id, texts[query_id], rows, passages, relevant) for query_id in query_ids]


def _telling(rankings: pa.Table, relevant: Mapping[tuple[str, str], bool]) -> pa.Table:
    """The rankings of queries with a relevant document among the first; all where none has."""
    top = rankings.filter(pc.less_equal(rankings["rank"], LINES))
    pairs = zip(top["query_id"].to_pylist(), top["doc_id"].to_pylist(), strict=True)
    queries = {query for query, doc in pairs if relevant.get((query, doc))}
    chosen = rankings.filter(pc.is_in(rankings["query_id"], pa.array(queries, pa.string())))
    return chosen if chosen.num_rows else rankings


def _most_moved(rankings: pa.Table) -> list[str]:
    top = rankings.filter(pc.less_equal(rankings["rank"], LINES))
    moved = pc.abs(pc.subtract(top["retrieval_rank"], top["rank"]))
    sums = top.append_column("moved", moved).group_by("query_id").aggregate([("moved", "sum")])
    order = [("moved_sum", "descending"), ("query_id", "ascending")]
    return [str(name) for name in sums.sort_by(order)["query_id"][:EXAMPLES].to_pylist()]


def _passages(plan: RankPlan, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], Any]:
    """Title and text of a few passages, found by one sweep over the parts' ids."""
    ids = pa.array(sorted({doc_id for doc_id, _ in wanted}), pa.string())
    found: dict[tuple[str, int], Any] = {}
    for part in plan.published.version.parts:
        if len(found) == len(wanted):
            break
        table = plan.index.read_table(part.passages, ["doc_id", "passage", "title", "text"])
        for row in table.filter(pc.is_in(table["doc_id"], ids)).to_pylist():
            if (row["doc_id"], row["passage"]) in wanted:
                found[row["doc_id"], row["passage"]] = row
    return found


def _example(
    query_id: str,
    text: str,
    rows: Sequence[dict[str, Any]],
    passages: Mapping[tuple[str, int], Any],
    relevant: Mapping[tuple[str, str], bool],
) -> Example:
    mine = [row for row in rows if row["query_id"] == query_id]

    def lines(column: str, score: str) -> tuple[Line, ...]:
        near = sorted((r for r in mine if r[column] <= LINES), key=lambda r: r[column])
        return tuple(_line(r, column, score, passages, relevant) for r in near)

    before = lines("retrieval_rank", "retrieval_score")
    reranked = any(row["rerank_score"] is not None for row in mine)
    return Example(query_id, text, before, lines("rank", "score") if reranked else ())


def _line(
    row: Mapping[str, Any],
    column: str,
    score: str,
    passages: Mapping[tuple[str, int], Any],
    relevant: Mapping[tuple[str, str], bool],
) -> Line:
    passage = passages[row["doc_id"], row["passage"]]
    return Line(
        rank=row[column],
        doc_id=row["doc_id"],
        title=passage["title"],
        snippet=snippet(passage["text"]),
        score=row[score],
        relevant=relevant.get((row["query_id"], row["doc_id"])),
        moved=row["retrieval_rank"] - row["rank"] if column == "rank" else 0,
    )
