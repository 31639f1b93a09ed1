"""Which positives and negatives a student sees, and why not the others. Counts add up."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int32, Int64
from shardrank.core.settings import LabelSettings
from shardrank.labels.scored import (
    Origin,
    Scored,
    by_score,
    mix,
    rank_within,
    runs_of,
    within_runs,
)
from shardrank.labels.sketch import similarity

#: Why a query gives nothing.
NO_POSITIVE = "no positive among its candidates"
INCONSISTENT = "no positive that the teachers rank high enough"
NO_NEGATIVE = "no negative is left"
#: What becomes of a pair.
CHOSEN = "chosen"
NOT_FIRST = "not among the first"
INCONSISTENT_PAIR = "its positive is not ranked high enough"


@dataclass(frozen=True)
class Chosen:
    """What is left of a block's candidates.

    Attributes:
        positive: int64[m], of each pair the positive's row among the candidates; ascending.
        negative: int64[m], and the negative's; of one positive, the highest score first.
        pairs: how many pairs there were, by what became of them: "chosen" or a reason.
        set_aside: query → reason, of queries without a pair.
    """

    positive: Int64
    negative: Int64
    pairs: Counter[str]
    set_aside: dict[int, str]


def positives_of(scored: Scored, settings: LabelSettings) -> Bool:
    """bool[n]: judged relevant; or, as the settings say, also what the teachers put first of all
    that was neither drawn nor judged to be less."""
    if settings.positives == "qrels":
        return scored.positive
    out = (scored.origin == Origin.RANDOM) | (scored.origin == Origin.BATCH)
    out |= scored.judged & ~scored.positive
    score = np.where(out, np.float32(-np.inf), scored.score)
    first = (rank_within(scored.query, score, scored.key) == 1) & ~out
    found: Bool = scored.positive | first
    return found


def choose(scored: Scored, settings: LabelSettings, fill: bool = False) -> Chosen:
    """Pair every kept positive with the negatives that pass.

    A pair goes by the first reason that holds; of those that pass, the first
    `settings.negatives` mined ones of each positive stay, and all that were drawn.

    Args:
        scored: the candidates.
        settings: what filters them.
        fill: take more mined ones where fewer were drawn than the settings ask for.
    """
    positive = positives_of(scored, settings)
    kept = positive & _consistent(scored, settings)
    negative = ~positive
    pairs = Counter({INCONSISTENT_PAIR: _count(scored, positive & ~kept, negative)})
    for reason, fails in _alone(scored, settings):
        pairs[reason] += _count(scored, kept, negative & fails)
        negative &= ~fails
    left, right = _pairs(scored, np.flatnonzero(kept), _preferred(scored, settings, negative))
    for reason, fail in _together(scored, settings, positive):
        passed = np.flatnonzero(~fail(left, right))
        pairs[reason] += len(left) - len(passed)
        left, right = left[passed], right[passed]
    stays = np.flatnonzero(_among_first(scored, settings, left, right, fill))
    pairs[NOT_FIRST] += len(left) - len(stays)
    left, right = left[stays], right[stays]
    pairs[CHOSEN] = len(left)
    if settings.pick == "random":
        order = by_score(left, scored.score[right], scored.key[right])
        left, right = left[order], right[order]
    return Chosen(left, right, +pairs, _set_aside(scored, positive, kept, left))


def _consistent(scored: Scored, settings: LabelSettings) -> Bool:
    if settings.consistency is None:
        return np.ones(len(scored), np.bool_)
    found: Bool = rank_within(scored.query, scored.score, scored.key) <= settings.consistency
    return found


def _preferred(scored: Scored, settings: LabelSettings, negative: Bool) -> Int64:
    """The negatives' rows by query, then in the order in which they are taken."""
    rows = np.flatnonzero(negative)
    query, key = scored.query[rows], scored.key[rows]
    if settings.pick == "hardest":
        return rows[by_score(query, scored.score[rows], key)]
    drawn = mix(key ^ mix(scored.query_key[rows] ^ np.uint64(settings.seed)))
    return rows[np.lexsort((drawn, query))]


def _count(scored: Scored, positives: Bool, negatives: Bool) -> int:
    """How many pairs there are of these positives and negatives of one query."""
    bounds = np.append(runs_of(scored.query)[0], len(scored))
    left, right = (
        np.diff(np.searchsorted(np.flatnonzero(what), bounds)) for what in (positives, negatives)
    )
    return int(left @ right)


def _pairs(scored: Scored, positives: Int64, negatives: Int64) -> tuple[Int64, Int64]:
    """Every positive with every negative of its query."""
    query, wanted = scored.query[negatives], scored.query[positives]
    begin = np.searchsorted(query, wanted, side="left")
    lengths = np.searchsorted(query, wanted, side="right") - begin
    right = negatives[np.repeat(begin, lengths) + within_runs(lengths)]
    return np.repeat(positives, lengths), right


def _alone(scored: Scored, settings: LabelSettings) -> Iterator[tuple[str, Bool]]:
    """What speaks against a negative, bool[n], whatever the positive; in the order in which it is
    asked. It is asked before there are pairs, since these are many times as many."""
    yield "judged relevant, below label.min_grade", scored.weak
    yield "outside the rank window", _outside(scored, settings)
    if settings.ceiling is not None:
        yield "above the ceiling", scored.score > settings.ceiling


def _together(
    scored: Scored, settings: LabelSettings, positive: Bool
) -> Iterator[tuple[str, Callable[[Int64, Int64], Bool]]]:
    """What speaks against pairs (left[i], right[i]), bool[m], and is asked afterwards."""
    score, margin, ratio = scored.score, settings.margin, settings.ratio
    threshold = settings.near_duplicate
    if margin is not None:
        yield "within the margin", lambda p, n: score[n] > score[p] - np.float32(margin)
    if ratio is not None:
        yield "above the ratio", lambda p, n: sigmoid(score[n]) > ratio * sigmoid(score[p])
    if threshold is not None and scored.sketch is not None:
        yield (
            "near-duplicate of a positive",
            lambda _, n: _copies(scored, positive, n, threshold)[n],
        )


def _copies(scored: Scored, positive: Bool, right: Int64, threshold: float) -> Bool:
    """bool[n]: the candidates of `right` that are near-duplicates of any positive of their query;
    no others."""
    copies, asked = np.zeros((2, len(scored)), np.bool_)
    asked[right] = True
    left, right = _pairs(scored, np.flatnonzero(positive), np.flatnonzero(asked))
    if scored.sketch is not None:
        copies[right[similarity(scored.sketch, left, right) >= threshold]] = True
    return copies


def _outside(scored: Scored, settings: LabelSettings) -> Bool:
    """bool[n]: of mined negatives; those that were drawn have no rank."""
    rank, last = scored.rank, settings.last_rank or settings.depth
    mined = scored.origin == Origin.RETRIEVED
    outside: Bool = mined & ((rank < settings.first_rank) | (rank > last))
    return outside


def _among_first(
    scored: Scored, settings: LabelSettings, left: Int64, right: Int64, fill: bool
) -> Bool:
    """bool[m]: the first mined ones of each positive; drawn ones all stay.

    Args:
        scored: the candidates.
        settings: how many there may be.
        left: int64[m], the pairs' positives, in runs.
        right: int64[m], and their negatives.
        fill: mined ones take the places of drawn ones that are lacking.
    """
    mined = scored.origin[right] == Origin.RETRIEVED
    starts, lengths = runs_of(left)
    upto = np.cumsum(mined, dtype=np.int64)
    before = upto[starts] - mined[starts]
    limit: Int64 | int = settings.negatives
    if fill:
        drawn = lengths - (upto[starts + lengths - 1] - before)
        wanted = settings.random_negatives + settings.batch_negatives
        limit = settings.negatives + wanted - drawn
    among: Bool = ~mined | (upto <= np.repeat(before + limit, lengths))
    return among


def _set_aside(scored: Scored, positive: Bool, kept: Bool, left: Int64) -> dict[int, str]:
    starts, _ = runs_of(scored.query)
    if not len(starts):
        return {}
    used = np.zeros(len(scored), np.bool_)
    used[left] = True
    any_used, any_kept, any_positive = (
        np.logical_or.reduceat(what, starts) for what in (used, kept, positive)
    )
    reasons = np.full(len(starts), NO_NEGATIVE, dtype=object)
    reasons[~any_kept] = INCONSISTENT
    reasons[~any_positive] = NO_POSITIVE
    without = scored.query[starts][~any_used]
    return dict(zip(without.tolist(), reasons[~any_used].tolist(), strict=True))


def sigmoid(score: Float32) -> Float32:
    """float32[n]: 1 / (1 + exp(-score)), without overflow."""
    values: npt.NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -score.astype(np.float64)))
    return values.astype(np.float32)


def suspects(scored: Scored, settings: LabelSettings) -> tuple[Int32, Float32]:
    """Candidates that nobody judged and that the teachers put above the query's best positive:
    rows int32[m], and by how much float32[m], the furthest above first."""
    positive = positives_of(scored, settings)
    starts, lengths = runs_of(scored.query)
    best = np.full(len(scored), -np.inf, dtype=np.float32)
    best[positive] = scored.score[positive]
    if len(starts):
        best = np.repeat(np.maximum.reduceat(best, starts), lengths)
    known = positive | scored.judged
    gap = np.where(known | ~np.isfinite(best), -np.inf, scored.score - best)
    rows = np.flatnonzero(gap > 0)
    order = np.lexsort((scored.key[rows], -gap[rows]))
    return rows[order].astype(np.int32), gap[rows[order]].astype(np.float32)
