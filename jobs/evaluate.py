"""shardrank evaluate: metrics of an OUT against judgements."""

from shardrank import api
from shardrank.core.same_ids import notice
from shardrank.core.settings import Settings
from shardrank.jobs.console import console, metrics_table
from shardrank.jobs.rank import notes


def run(out: str, qrels: str, settings: Settings) -> None:
    """Print the metrics; nothing in OUT changes."""
    found = api.evaluate(out, qrels, settings=settings)
    console().print(metrics_table(found.evaluation.metrics))
    for line in filter(None, [*notes(found.evaluation), notice(found.same_ids)]):
        console().print(line)
