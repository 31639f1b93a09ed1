"""rerank: the scores of candidates, by the road that suits what their reranker sees."""

from collections.abc import Sequence
from dataclasses import replace

from shardrank.core.errors import InputError
from shardrank.core.finite import refuse_broken
from shardrank.core.units import Done, total
from shardrank.stages.rank.rerank_columns import rerank_columns
from shardrank.stages.rank.rerank_lists import UNREAD, rerank_lists
from shardrank.stages.rank.rerank_pairs import rerank_pairs
from shardrank.stages.rank.rerank_plan import (
    RERANK,
    Candidates,
    PlannedReranker,
    ScoredBefore,
    Scores,
    score_source,
)
from shardrank.stages.run.runner import Context

_ROADS = {"pairs": rerank_pairs, "lists": rerank_lists, "columns": rerank_columns}


def rerank(
    context: Context,
    candidates: Candidates,
    reranker: PlannedReranker,
    stage: str = RERANK.name,
) -> list[Done[Scores]]:
    """The candidates' scores. Of more than are wanted, where the same were scored deeper before,
    and a score says nothing of the list that it was made in."""
    card, road = reranker.card, _ROADS[reranker.card.sees]
    if not card.alone:
        return road(context, candidates, reranker, stage)
    held = ScoredBefore.of(context.workspace, candidates, card)
    wanted = replace(candidates, depth=held.depth(candidates.depth))
    dones = road(context, wanted, reranker, stage)
    held.keep(wanted.depth)
    return dones


def require_scores(
    context: Context,
    reranker: PlannedReranker,
    scored: Sequence[Done[Scores]],
    stage: str = RERANK.name,
) -> None:
    """Raise InputError where not one pair of all units has a finite score.

    Their markers go: with the model mended the same command scores them again.
    """
    broken, of = total(scored, "not_finite"), total(scored, "rows")
    hint = UNREAD if total(scored, "unparsed") else ""
    try:
        refuse_broken(score_source(reranker.card), broken, of, "pairs", least=1, hint=hint)
    except InputError:
        context.workspace.forget(stage, scored)
        raise
