"""shardrank evaluate: metrics of an OUT against judgements."""

from dataclasses import replace

from shardrank.core.evaluation import evaluate, same_ids
from shardrank.core.same_ids import SameIds, notice
from shardrank.core.settings import Settings
from shardrank.corpus.qrels import read_qrels
from shardrank.jobs.console import console
from shardrank.jobs.rank import judged_lines, metrics_table
from shardrank.stages.run.workspace import StoredTables, open_workspace
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
from shardrank.storage import Sources


def run(out: str, qrels: str, settings: Settings) -> None:
    """Print the metrics; nothing in OUT changes."""
    workspace = open_workspace(out, settings)
    ranked = read_ranked(workspace)
    with Sources(settings.s3).open(qrels) as file:
        judgements = read_qrels(file.read(), qrels)
    blocks, ignored = StoredTables(workspace, ranked.rankings), settings.search.ignore_same_id
    metrics = evaluate(blocks, judgements, ignored)
    console().print(metrics_table(metrics))
    for line in judged_lines(blocks, judgements, metrics):
        console().print(line)
    if said := notice(_same_ids(blocks, ranked, ignored)):
        console().print(said)


def _same_ids(blocks: StoredTables, ranked: RankedRun, ignored: bool) -> SameIds:
    """As the rankings have them; whether they are the queries, the rank run has looked."""
    found = same_ids(blocks.only("query_id", "doc_id", "retrieval_rank"))
    seen = ranked.same_ids
    return replace(found, looked=seen.looked, equal=seen.equal, ignored=ignored)
