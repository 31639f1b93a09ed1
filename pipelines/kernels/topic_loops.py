"""The loops of `corpus/topics.py`, as machine code: how far neighbouring sentences part."""

import numpy as np

from shardrank.core.arrays import Bool, Float32, Float64, Int64
from shardrank.kernels.compiled import compiled, compiled_bare


@compiled
def similarities(vectors: Float32, bounds: Int64, window: int) -> Float64:
    """float64[n]: before each sentence, the cosine of the sums of so many sentences' vectors before
    and behind; 1 before the first of a text, and where nothing is known of either.

    Sums are in float64 and in the order of sentences and components, so a text's are the same in
    any batch.

    Args:
        vectors: float32[n, d], of the sentences of all texts.
        bounds: int64[texts + 1], where each text's begin.
        window: sentences on either side, fewer at a text's ends.
    """
    found = np.ones(len(vectors), np.float64)
    before = np.empty(vectors.shape[1], np.float64)
    behind = np.empty_like(before)
    for text in range(len(bounds) - 1):
        first, last = bounds[text], bounds[text + 1]
        for gap in range(first + 1, last):
            _add(vectors, max(first, gap - window), gap, before)
            _add(vectors, gap, min(last, gap + window), behind)
            found[gap] = _cosine(before, behind)
    return found


@compiled_bare
def _add(vectors: Float32, begin: int, end: int, out: Float64) -> None:
    for at in range(len(out)):
        out[at] = 0
    for row in range(begin, end):
        for at in range(len(out)):
            out[at] += vectors[row, at]


@compiled_bare
def _cosine(left: Float64, right: Float64) -> float:
    product = lefts = rights = 0.0
    for at in range(len(left)):
        product += left[at] * right[at]
        lefts += left[at] * left[at]
        rights += right[at] * right[at]
    if lefts == 0 or rights == 0:
        return 1.0
    return float(product / np.sqrt(lefts * rights))


@compiled
def depths(found: Float64, bounds: Int64) -> Float64:
    """float64[n]: before each sentence, how much the similarities rise on both sides, up to where
    they first fall again (Hearst 1997, TextTiling, section 5.3); 0 before the first of a text."""
    out = np.zeros(len(found), np.float64)
    for text in range(len(bounds) - 1):
        first, last = bounds[text] + 1, bounds[text + 1]
        for gap in range(first, last):
            left = right = gap
            while left > first and found[left - 1] >= found[left]:
                left -= 1
            while right < last - 1 and found[right + 1] >= found[right]:
                right += 1
            out[gap] = found[left] + found[right] - 2 * found[gap]
    return out


@compiled
def boundaries(found: Float64, bounds: Int64, below: float) -> Bool:
    """bool[n]: whether a gap's depth is more than 0, no less than its neighbours', and more than
    the mean of its text's less so many standard deviations.

    Args:
        found: float64[n], depths.
        bounds: int64[texts + 1], where each text's begin; the first of each is no gap.
        below: deviations.
    """
    out = np.zeros(len(found), np.bool_)
    for text in range(len(bounds) - 1):
        first, last = bounds[text] + 1, bounds[text + 1]
        least = _mean_less(found, first, last, below)
        for gap in range(first, last):
            before = found[gap - 1] if gap > first else 0.0
            behind = found[gap + 1] if gap + 1 < last else 0.0
            out[gap] = found[gap] > max(0.0, least) and found[gap] >= max(before, behind)
    return out


@compiled_bare
def _mean_less(found: Float64, first: int, last: int, below: float) -> float:
    count = max(1, last - first)
    total = squares = 0.0
    for gap in range(first, last):
        total += found[gap]
    mean = total / count
    for gap in range(first, last):
        squares += (found[gap] - mean) ** 2
    return float(mean - below * np.sqrt(squares / count))
