"""shardrank rank: search and rerank a batch of queries."""

from dataclasses import dataclass

from shardrank import api
from shardrank.api import Ranked
from shardrank.core.evaluation import Evaluation
from shardrank.core.same_ids import notice
from shardrank.core.settings import Settings
from shardrank.jobs.console import command_line, reporter_of
from shardrank.report.sentences import absent, covered, deeper, excluded, lowered


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
    with reporter_of(settings) as reporter:
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
    ended = f"{ranked.counts.ranked:,} queries ranked into {job.out}/rankings."
    reporter.close([ended, *summary(ranked)])
    if ranked.evaluation:
        reporter.measured(ranked.evaluation.metrics, notes(ranked.evaluation))
    reporter.close([f"Report: {job.out}/report.html"])


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
    if said := excluded(ranked.excluded):
        lines.append(f"  excluded   {said}")
    return lines


def notes(found: Evaluation) -> list[str]:
    """Beside the metrics: queries that are left out or count as 0, metrics deeper than the search,
    ids that never meet."""
    said = [*covered(found.coverage), *deeper(found.metrics["retrieved"], found.k)]
    return [line for line in (*said, *lowered(found.metrics), found.unmet) if line]
