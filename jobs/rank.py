"""shardrank rank: search and rerank a batch of queries."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from shardrank.core.evaluation import Judgement, coverage, unmet
from shardrank.core.fingerprint import fingerprint
from shardrank.core.same_ids import notice
from shardrank.core.settings import Settings
from shardrank.flows.rank import Ranked, RankPlan, plan_ranking, rank
from shardrank.jobs.console import ConsoleReporter, console, print_notes
from shardrank.models.notes import reranker_notes
from shardrank.report.sentences import absent, covered
from shardrank.stages.rank.deliver import RANKED, deliver
from shardrank.stages.rank.rerank_pairs import scores_by_block
from shardrank.stages.run.executors import opened
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import StoredTables, open_workspace, refuse_same
from shardrank.stages.shared.outputs import claim
from shardrank.stages.shared.ranked_runs import RankedBlock, RankedRun, ScoredPairs

Metrics = dict[str, dict[str, float]]


@dataclass(frozen=True)
class RankJob:
    """The command's arguments."""

    index: str
    queries: str
    out: str
    qrels: str | None = None
    overwrite: bool = False


def run(job: RankJob, settings: Settings, verbose: bool) -> None:
    """Rank QUERIES over INDEX into OUT and print what came of it."""
    refuse_same(job.index, "INDEX", job.out, "OUT")
    plan = plan_ranking(open_workspace(job.index, settings), job.queries, job.qrels, settings)
    print_notes(reranker_notes(plan.settings.reranker))
    workspace = open_workspace(job.out, settings)
    with (
        workspace.storage.lock("lock"),
        opened(settings.cluster, plan.amount, verbose, "shardrank.report.page") as executor,
        ConsoleReporter() as reporter,
    ):
        context = Context(workspace, plan.run, plan.settings, executor, reporter)
        context.refuse_impossible()
        claim(workspace, RANKED, plan.run, job.overwrite)
        ranked, metrics = _run(context, plan)
    console().print(f"{ranked.counts.ranked:,} queries ranked into {job.out}/rankings.")
    for line in summary(plan, ranked):
        console().print(line)
    if metrics:
        console().print(metrics_table(metrics))
        refs = [done.made.rankings for done in ranked.collated]
        for line in judged_lines(StoredTables(workspace, refs), plan.judgements, metrics):
            console().print(line)
    console().print(f"Report: {job.out}/report.html")


def _run(context: Context, plan: RankPlan) -> tuple[Ranked, Metrics | None]:
    from shardrank.flows.report import Finished, write_report  # matplotlib; see `meanwhile`

    ranked = rank(context, plan)
    # Apart from the manifest, which is the same wherever the index lies.
    context.workspace.write_json("origin.json", {"index": plan.index.storage.root})
    metrics = deliver(context, ranked.collated, plan.judgements, about(plan, ranked))
    command = " ".join(["shardrank", *sys.argv[1:]])
    write_report(context.workspace, Finished(plan, ranked, metrics, context.settings, command))
    return ranked, metrics


def about(plan: RankPlan, ranked: Ranked) -> RankedRun:
    """What OUT/manifest.json says of the run, but for its files."""
    counts = ranked.counts
    scores = scores_by_block(ranked.reranked, len(ranked.blocks))
    each = zip(ranked.blocks, ranked.merged, scores, strict=True)
    return RankedRun(
        run=plan.run,
        index_version=plan.published.number,
        index_content=fingerprint(plan.published.version.content()),
        encoder=plan.card.fingerprint,
        reranker=plan.reranker.fingerprint if plan.reranker else None,
        queries=ranked.queries.table.num_rows,
        queries_rejected=ranked.queries.rejected.num_rows,
        pairs=ScoredPairs(counts.reranked, counts.not_finite),
        same_ids=ranked.same_ids,
        blocks=tuple(RankedBlock(b.queries, b.vectors, d.made.hits, s) for b, d, s in each),
        rankings=(),
        files={},
    )


def summary(plan: RankPlan, ranked: Ranked) -> list[str]:
    """What became of the queries and pairs, and what the user should look at."""
    lines, rejected = ranked.counts.lines(), ranked.queries.rejected
    if rejected.num_rows:
        first = rejected.slice(0, 1).to_pylist()[0]
        lines.append(
            f"  rejected   the first at row {first['row']} of {first['source']}: "
            f"{first['reason']}; all in rejected/queries.parquet"
        )
    if said := absent(ranked.absent):
        lines.append(f"  judged     {said}")
    if said := notice(ranked.same_ids):
        lines.append(f"  same ids   {said}")
    return lines


def metrics_table(metrics: Metrics) -> Table:
    """Metrics before and after reranking, side by side."""
    table = Table("", *metrics, box=None)
    for name in metrics["retrieved"]:
        table.add_row(name, *(f"{values[name]:.4f}" for values in metrics.values()))
    return table


def judged_lines(
    blocks: StoredTables, judgements: Sequence[Judgement], metrics: Metrics
) -> list[str]:
    """What to know of the metrics: queries that are left out or count as 0, ids that never meet."""
    said = covered(coverage(blocks.only("query_id"), judgements))
    return [*said, *filter(None, [unmet(metrics, blocks.only("doc_id"), judgements)])]
