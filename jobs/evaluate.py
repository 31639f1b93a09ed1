"""shardrank evaluate: metrics of an OUT against judgements."""

from shardrank import api
from shardrank.core.same_ids import notice
from shardrank.core.settings import Settings
from shardrank.jobs.console import console
from shardrank.jobs.rank import print_evaluation


def run(out: str, qrels: str, settings: Settings) -> None:
    """Print the metrics; nothing in OUT changes."""
    found = api.evaluate(out, qrels, settings=settings)
    print_evaluation(found.evaluation)
    if said := notice(found.same_ids):
        console().print(said)
