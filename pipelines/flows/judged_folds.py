"""What a run found for judged queries, its documents folded again in any way."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from shardrank.core.evaluation import Judgement
from shardrank.core.fold_grid import Weights, fold_grid
from shardrank.core.folds import Fold
from shardrank.core.passage_scores import refolded
from shardrank.core.topk import ranks
from shardrank.flows.judged_lists import JudgedLists, listed
from shardrank.flows.tuned_fold import FoldHeld, FoldTried, FoldTuned
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.ranked_runs import RankedRun


@dataclass(frozen=True)
class JudgedFolds:
    """The hits of judged queries with their passages' scores, as the only list of each block."""

    lists: JudgedLists

    @property
    def queries(self) -> set[str]:
        """That are judged."""
        return self.lists.queries

    def tried(self, weights: Weights) -> FoldTried:
        """The means that a fold gives."""
        found = (self._first(block.lists[0], weights) for block in self.lists.blocks)
        return FoldTried(weights, self.lists.means(found))

    def _first(self, hits: pa.Table, weights: Weights) -> pa.Table:
        """One more than are ranked where the document with the query's own id is passed over."""
        hits = refolded(hits, weights)
        return hits.filter(pa.array(ranks(hits) <= self.lists.k + self.lists.ignore_same_id))


def judged_folds(
    out: Workspace,
    ranked: RankedRun,
    judgements: Sequence[Judgement],
    metrics: Sequence[str],
    ignore_same_id: bool,
) -> JudgedFolds:
    """Of a run of one retriever that folds."""
    blocks = listed(out, ((block, block.passages) for block in ranked.blocks), judgements)
    k = min(ranked.settings.search.k, ranked.retrievers[0].k)
    return JudgedFolds(JudgedLists(blocks, judgements, metrics, k, ignore_same_id))


def tune_fold(own: Fold, chosen: JudgedFolds, test: JudgedFolds | None, metric: str) -> FoldTuned:
    """The fold that is best by `chosen`, and what `test` says of it."""
    tried = tuple(chosen.tried(weights) for weights in fold_grid(own.weights))
    tuned = FoldTuned(metric, own.documents, tried[0], tried)
    if test is None:
        return tuned
    held = FoldHeld(
        queries=len(test.queries),
        shared=len(test.queries & chosen.queries),
        before=test.tried(own.weights),
        after=test.tried(tuned.best.weights),
    )
    return FoldTuned(metric, own.documents, tried[0], tried, held)
