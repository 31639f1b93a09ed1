"""Which positives and negatives a student sees, and why not the others. Counts add up."""

from collections import Counter
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
    negatives = _preferred(scored, settings, ~positive)
    left, right, lengths = _pairs(scored, np.flatnonzero(kept), negatives)
    dropped = _pairs(scored, np.flatnonzero(positive & ~kept), negatives)[0]
    pairs, passed = Counter({INCONSISTENT_PAIR: len(dropped)}), np.ones(len(left), np.bool_)
    for reason, fails in _reasons(scored, settings, positive, left, right):
        pairs[reason] += int((passed & fails).sum())
        passed &= ~fails
    stays = passed & _among_first(scored, settings, right, passed, lengths, fill)
    pairs[NOT_FIRST] += int((passed & ~stays).sum())
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


def _pairs(scored: Scored, positives: Int64, negatives: Int64) -> tuple[Int64, Int64, Int64]:
    """Every positive with every negative of its query, and how many pairs each positive has."""
    query, wanted = scored.query[negatives], scored.query[positives]
    begin = np.searchsorted(query, wanted, side="left")
    lengths = np.searchsorted(query, wanted, side="right") - begin
    right = negatives[np.repeat(begin, lengths) + within_runs(lengths)]
    return np.repeat(positives, lengths), right, lengths


def _reasons(
    scored: Scored, settings: LabelSettings, positive: Bool, left: Int64, right: Int64
) -> list[tuple[str, Bool]]:
    """What speaks against each pair, in the order in which it is asked."""
    ours, theirs = scored.score[left], scored.score[right]
    found = [
        ("judged relevant, below label.min_grade", scored.weak[right]),
        ("outside the rank window", _outside(scored, settings, right)),
    ]
    if settings.ceiling is not None:
        found.append(("above the ceiling", theirs > settings.ceiling))
    if settings.margin is not None:
        found.append(("within the margin", theirs > ours - np.float32(settings.margin)))
    if settings.ratio is not None:
        found.append(("above the ratio", sigmoid(theirs) > settings.ratio * sigmoid(ours)))
    if settings.near_duplicate is not None and scored.sketch is not None:
        copies = _copies(scored, positive, settings.near_duplicate)
        found.append(("near-duplicate of a positive", copies[right]))
    return found


def _copies(scored: Scored, positive: Bool, threshold: float) -> Bool:
    """bool[n]: candidates that are near-duplicates of any positive of their query."""
    copies = np.zeros(len(scored), np.bool_)
    left, right, _ = _pairs(scored, np.flatnonzero(positive), np.flatnonzero(~positive))
    if scored.sketch is not None:
        np.logical_or.at(copies, right, similarity(scored.sketch, left, right) >= threshold)
    return copies


def _outside(scored: Scored, settings: LabelSettings, right: Int64) -> Bool:
    """Of mined negatives; those that were drawn have no rank."""
    rank, last = scored.rank[right], settings.last_rank or settings.depth
    mined = scored.origin[right] == Origin.RETRIEVED
    outside: Bool = mined & ((rank < settings.first_rank) | (rank > last))
    return outside


def _among_first(
    scored: Scored,
    settings: LabelSettings,
    right: Int64,
    passed: Bool,
    lengths: Int64,
    fill: bool,
) -> Bool:
    """bool[m]: the first mined ones of each positive that passed; drawn ones all stay.

    Args:
        scored: the candidates.
        settings: how many there may be.
        right: int64[m], the pairs' negatives, positive after positive.
        passed: bool[m].
        lengths: int64[p], how many pairs each positive has.
        fill: mined ones take the places of drawn ones that are lacking.
    """
    mined = scored.origin[right] == Origin.RETRIEVED
    upto, before = _counted(passed & mined, lengths)
    limit: Int64 | int = settings.negatives
    if fill:
        drawn, earlier = _counted(passed & ~mined, lengths)
        ends = np.cumsum(lengths)
        held = np.concatenate([[0], drawn])[ends] - earlier
        wanted = settings.random_negatives + settings.batch_negatives
        limit = np.repeat(settings.negatives + wanted - held, lengths)
    among: Bool = ~mined | (upto - np.repeat(before, lengths) <= limit)
    return among


def _counted(what: Bool, lengths: Int64) -> tuple[Int64, Int64]:
    """int64[m]: how many there are up to each pair; int64[p]: and before each positive's first."""
    upto: Int64 = np.cumsum(what, dtype=np.int64)
    return upto, np.concatenate([[0], upto])[np.cumsum(lengths) - lengths]


def _set_aside(scored: Scored, positive: Bool, kept: Bool, left: Int64) -> dict[int, str]:
    queries = np.unique(scored.query)
    reasons = np.full(len(queries), NO_NEGATIVE, dtype=object)
    reasons[~np.isin(queries, scored.query[kept])] = INCONSISTENT
    reasons[~np.isin(queries, scored.query[positive])] = NO_POSITIVE
    without = ~np.isin(queries, scored.query[left])
    found = zip(queries[without].tolist(), reasons[without].tolist(), strict=True)
    return dict(found)


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
