"""shardrank rank: search and rerank a batch of queries."""

from dataclasses import dataclass

from rich.table import Table

from shardrank import api
from shardrank.api import Ranked
from shardrank.core.evaluation import Evaluation, Metrics
from shardrank.core.same_ids import notice
from shardrank.core.settings import Settings
from shardrank.jobs.console import ConsoleReporter, command_line, console
from shardrank.report.sentences import absent, covered, deeper, lowered


@dataclass(frozen=True)
class RankJob:
    """The command's arguments."""

    index: str
    queries: str
    out: str
    qrels: str | None = None
    overwrite: bool = False
    wait: bool = False


def run(job: RankJob, settings: Settings, verbose: bool) -> None:
    """Rank QUERIES over INDEX into OUT and print what came of it."""
    with ConsoleReporter() as reporter:
        ranked = api.rank(
            job.index,
            job.queries,
            job.out,
            qrels=job.qrels,
            overwrite=job.overwrite,
            settings=settings,
            reporter=reporter,
            wait=job.wait,
            verbose=verbose,
            command=command_line(),
        )
    console().print(f"{ranked.counts.ranked:,} queries ranked into {job.out}/rankings.")
    for line in summary(ranked):
        console().print(line)
    if ranked.evaluation:
        print_evaluation(ranked.evaluation)
    console().print(f"Report: {job.out}/report.html")


def summary(ranked: Ranked) -> list[str]:
    """What became of the queries and pairs, and what the user should look at."""
    lines, rejected = ranked.counts.lines(), ranked.rejected
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


def print_evaluation(found: Evaluation) -> None:
    """The metrics; queries that are left out or count as 0; ids that never meet."""
    console().print(metrics_table(found.metrics))
    said = [*covered(found.coverage), *deeper(found.metrics["retrieved"], found.k)]
    for line in filter(None, [*said, *lowered(found.metrics), found.unmet]):
        console().print(line)


def metrics_table(metrics: Metrics) -> Table:
    """Metrics before and after reranking, side by side."""
    table = Table("", *metrics, box=None)
    for name in metrics["retrieved"]:
        table.add_row(name, *(f"{values[name]:.4f}" for values in metrics.values()))
    return table
