"""Metrics of a finished ranking against any judgements; nothing changes."""

from dataclasses import dataclass, replace

from shardrank.core.evaluation import Evaluation, Metrics, same_ids
from shardrank.core.same_ids import SameIds
from shardrank.core.settings import Settings
from shardrank.corpus.qrels import read_qrels
from shardrank.flows.judged_lists import alone
from shardrank.stages.rank.deliver import evaluate_stored
from shardrank.stages.run.workspace import StoredTables, Workspace
from shardrank.stages.shared.ranked_runs import RankedRun, read_ranked
from shardrank.storage import Sources


@dataclass(frozen=True)
class Evaluated:
    """The metrics of a ranking, and hits that have their query's own id."""

    evaluation: Evaluation
    same_ids: SameIds

    @property
    def metrics(self) -> Metrics:
        """By order (of each retriever alone, retrieved, reranked) and name."""
        return self.evaluation.metrics


def evaluate_run(out: Workspace, qrels: str, settings: Settings) -> Evaluated:
    """The metrics of the rankings in OUT.

    Raises:
        InputError: OUT holds no finished ranking, the judgements cannot be read, or none of them
            is of a ranked query.
    """
    ranked = read_ranked(out)
    with Sources(settings.s3).open(qrels) as file:
        judgements = read_qrels(file.read(), qrels)
    blocks, ignored = StoredTables(out, ranked.rankings), settings.search.ignore_same_id
    metrics, k = settings.evaluate.metrics, ranked.settings.search.k
    evaluation = evaluate_stored(blocks, judgements, metrics, k, ignored)
    evaluation = evaluation.beside(alone(out, ranked, judgements, metrics, ignored))
    return Evaluated(evaluation, _same_ids(blocks, ranked, ignored))


def _same_ids(blocks: StoredTables, ranked: RankedRun, ignored: bool) -> SameIds:
    """As the rankings have them; whether they are the queries, the rank run has looked."""
    found = same_ids(blocks.only("query_id", "doc_id", "retrieval_rank"))
    seen = ranked.same_ids
    return replace(found, looked=seen.looked, equal=seen.equal, ignored=ignored)
