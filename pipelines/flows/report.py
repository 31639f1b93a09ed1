"""From what a run left on storage to its report.html."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shardrank import __version__
from shardrank.core.arrays import Float32
from shardrank.core.cards import EncoderCard, RerankerCard, WriterCard
from shardrank.core.evaluation import Evaluation
from shardrank.core.same_ids import notice
from shardrank.core.times import clock
from shardrank.corpus.part_keys import LENGTH_STEP
from shardrank.flows.rank_plan import RankedBatch, RankPlan
from shardrank.report.data import (
    AuditCurve,
    Example,
    Flow,
    Histogram,
    Line,
    ReportCounts,
    ReportData,
    StageTime,
    edges_over,
)
from shardrank.report.figures import snippet
from shardrank.report.page import render
from shardrank.report.queries import MOVES, moves, query_table
from shardrank.report.sentences import absent, deeper, excluded
from shardrank.stages.index.publish import rejected_reasons
from shardrank.stages.rank.write import Wrote
from shardrank.stages.run.records import stage_runs
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.version.indexes import Audit
from shardrank.version.manifest import Version
from shardrank.version.mapped import mapped_documents
from shardrank.version.parts import LengthClass

#: What becomes of rows that are no rejects.
_ACCEPTED = ("added", "changed", "unchanged", "tombstones", "superseded")
EXAMPLES = 5
LINES = 5


@dataclass(frozen=True)
class Finished:
    """A finished rank run: its plan, its markers, its metrics, and what it ran in."""

    plan: RankPlan
    ranked: RankedBatch
    evaluation: Evaluation | None
    context: Context


def write_report(workspace: Workspace, finished: Finished) -> None:
    """Write OUT/report.html."""
    page = render(report_data(workspace, finished))
    workspace.storage.write("report.html", page.encode("utf-8"))


def report_data(workspace: Workspace, finished: Finished) -> ReportData:
    """All that the page shows, read from the index and the output."""
    plan, version = finished.plan, finished.plan.published.version
    collated = [done.made.rankings for done in finished.ranked.collated]
    rankings = StoredTables(workspace, collated)
    index_run, evaluation = version.made.run, finished.evaluation
    return ReportData(
        title="shardrank report",
        created=f"{clock(time.time())} UTC",
        command=finished.context.command,
        versions=_versions(finished),
        settings=_settings(finished),
        counts=_counts(version, finished.ranked),
        stages=(
            *_stages(plan.index, index_run, "index"),
            *_stages(workspace, plan.run, "rank"),
        ),
        audit=_audit(version.index.audit),
        lengths=_lengths(version.lengths),
        retrieval_scores=_scores(rankings, "retrieval_score"),
        rerank_logits=_scores(rankings, "rerank_score"),
        metrics=evaluation.metrics if evaluation else None,
        coverage=evaluation.coverage if evaluation else None,
        batch=tuple(finished.ranked.counts.lines()),
        notices=tuple(_notices(finished)),
        rejected_by_reason=rejected_reasons(plan.index, index_run),
        examples=tuple(_examples(finished, rankings)),
        queries=query_table(
            plan.queries.table,
            moves(rankings.only(*MOVES)),
            evaluation.per_query if evaluation else None,
        ),
    )


def _versions(finished: Finished) -> dict[str, str]:
    plan = finished.plan
    return {
        "shardrank": __version__,
        "index version": f"{plan.published.number:06d}",
        "encoder": _model(plan.encoder.card),
        "reranker": ", ".join(_reranker(each.card) for each in plan.rerankers) or "none",
        **({"writer": _model(plan.writer.card)} if plan.writer else {}),
    }


def _model(card: EncoderCard | RerankerCard | WriterCard) -> str:
    return f"{card.name} ({card.fingerprint[:8]}, {card.dtype})"


def _reranker(card: RerankerCard) -> str:
    return f"{_model(card)}: {card.score if card.family == 'cross' else card.family}"


def _settings(finished: Finished) -> dict[str, str]:
    plan, settings = finished.plan, finished.context.settings
    index = plan.published.version.index.plan
    shown: dict[str, Any] = {
        "index.kind": index.kind,
        "search.k": settings.search.k,
        "reranker.depth": _of_each([r.settings.depth for r in plan.rerankers]),
        "reranker.interpolation": _of_each([r.card.interpolation for r in plan.rerankers]),
        "encoder.max_tokens": plan.encoder.card.max_tokens,
    }
    if plan.writer:
        shown |= {"writer.makes": plan.writer.settings.makes}
    if index.kind == "ivfpq":
        shown |= {"index.pq_m": index.pq_m, "index.opq": index.opq}
    if index.kind == "ivfrabitq":
        shown |= {"index.rabitq_bits": index.pq_bits}
    if index.dim:
        shown |= {"index.dim": index.dim}
    if index.kind != "exact":
        shown |= {
            "index.nlist": index.nlist,
            "search.nprobe": plan.retrievers[0].how.nprobe,
            "search.depth": plan.retrievers[0].how.depth,
        }
    if len(plan.retrievers) > 1:
        shown |= {"retrievers": ", ".join(each.name for each in plan.retrievers)}
        shown |= {"fusion.how": settings.fusion.how}
    return {name: str(value) for name, value in shown.items()}


def _of_each(values: Sequence[float]) -> str:
    return ", ".join(map(str, values)) or "—"


def _notices(finished: Finished) -> list[str]:
    version = finished.plan.published.version
    ranked = finished.ranked
    said = [absent(ranked.absent), notice(ranked.same_ids), excluded(ranked.excluded)]
    said.append(_mapped(version))
    if found := finished.evaluation:
        said += [*deeper(found.metrics["retrieved"], found.k), found.unmet]
    return [sentence for sentence in said if sentence]


def _mapped(version: Version) -> str:
    """That a part of the vectors is the encoder's only in about."""
    mapped = version.mapped
    if mapped is None:
        return ""
    return (
        f"{mapped_documents(version.parts):,} of {version.live.documents:,} documents are served "
        f"through a map from vectors of {mapped.before.name}, which finds {mapped.recall:.3f} of "
        "the 10 nearest passages."
    )


def _counts(version: Version, ranked: RankedBatch) -> ReportCounts:
    batch = ranked.counts
    live, changes = version.live, version.changes
    return ReportCounts(
        rows=changes.rows,
        accepted=sum(getattr(changes, kind) for kind in _ACCEPTED),
        rejected=changes.rejected,
        documents=live.documents,
        passages=live.passages,
        truncated=live.truncated,
        queries=batch.ranked,
        pairs=batch.reranked,
        not_finite=batch.not_finite,
    )


def _stages(workspace: Workspace, run: str, flow: Flow) -> list[StageTime]:
    return [
        StageTime(flow, each.stage, len(each.units), each.resumed, each.rows, each.seconds or 0.0)
        for each in stage_runs(workspace, run)
    ]


def _audit(audit: Audit) -> AuditCurve:
    chosen = (audit.nprobe, audit.depth) if audit.points else None
    return AuditCurve(audit.k, audit.target, audit.points, chosen, audit.kind)


def _lengths(lengths: Sequence[LengthClass]) -> Histogram:
    """The stored classes as a histogram; empty classes in between count 0."""
    found = {each.tokens: each.passages for each in lengths}
    edges = range(min(found), max(found) + 2 * LENGTH_STEP, LENGTH_STEP)
    counts = tuple(found.get(low, 0) for low in edges[:-1])
    return Histogram(tuple(float(edge) for edge in edges), counts)


def _scores(rankings: StoredTables, column: str) -> Histogram | None:
    def parts() -> Iterator[Float32]:
        return (block[column].drop_null().to_numpy() for block in rankings.only(column))

    edges = edges_over(parts())
    return Histogram.over(parts(), edges) if edges else None


def _examples(finished: Finished, rankings: StoredTables) -> list[Example]:
    """The queries whose order changed most, which are the ones worth a look; where there are
    judgements, those among them that show a relevant document."""
    plan = finished.plan
    relevant = {(j.query_id, j.doc_id): j.relevance > 0 for j in plan.judgements}
    query_ids = _most_moved(rankings, relevant)
    wanted = pa.array(query_ids, pa.string())
    asked = plan.queries.table.filter(pc.is_in(plan.queries.table["query_id"], wanted))
    texts = dict(zip(asked["query_id"].to_pylist(), asked["text"].to_pylist(), strict=True))
    rows = [row for block in rankings for row in _near(block, wanted)]
    passages = _passages(plan, {(row["doc_id"], row["passage"]) for row in rows})
    shown = [_example(each, texts[each], rows, passages, relevant) for each in query_ids]
    return _with_written(shown, finished.ranked.wrote)


def _with_written(examples: Sequence[Example], wrote: Wrote | None) -> list[Example]:
    """With what was written about their queries, cut as passages are."""
    if wrote is None:
        return list(examples)
    shown = pa.array([each.query_id for each in examples], pa.string())
    table = wrote.table.filter(pc.is_in(wrote.table["query_id"], shown))
    both = list(zip(table["query_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return [
        replace(each, written=tuple(snippet(text) for of, text in both if of == each.query_id))
        for each in examples
    ]


def _near(block: pa.Table, query_ids: pa.Array) -> list[dict[str, Any]]:
    """The rows of these queries that are among the first in either order."""
    first = pc.or_(
        pc.less_equal(block["rank"], LINES), pc.less_equal(block["retrieval_rank"], LINES)
    )
    mine = pc.is_in(block["query_id"], query_ids)
    return list(block.filter(pc.and_(first, mine)).to_pylist())


def _most_moved(rankings: StoredTables, relevant: Mapping[tuple[str, str], bool]) -> list[str]:
    """Of the queries with a relevant document among the first (of all, where none has one) those
    whose first documents moved furthest."""
    best: list[tuple[bool, int, str]] = []
    for block in rankings.only("query_id", "doc_id", "rank", "retrieval_rank"):
        best = sorted([*best, *_moves(block, relevant)])[:EXAMPLES]
    return [query_id for dull, _, query_id in best if dull == best[0][0]]


def _moves(
    block: pa.Table, relevant: Mapping[tuple[str, str], bool]
) -> list[tuple[bool, int, str]]:
    """(no relevant document among the first, minus how far these moved, query), of each query."""
    top = block.filter(pc.less_equal(block["rank"], LINES))
    pairs = zip(top["query_id"].to_pylist(), top["doc_id"].to_pylist(), strict=True)
    telling = {query for query, doc in pairs if relevant.get((query, doc))}
    moved = pc.abs(pc.subtract(top["retrieval_rank"], top["rank"]))
    sums = top.append_column("moved", moved).group_by("query_id").aggregate([("moved", "sum")])
    moves = zip(sums["query_id"].to_pylist(), sums["moved_sum"].to_pylist(), strict=True)
    return [(query not in telling, -far, query) for query, far in moves]


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
