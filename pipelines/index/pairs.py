"""The one formula of a pair's score, and which pairs are worth scoring."""

from collections.abc import Iterator

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError
from shardrank.index.blocks import PartBlock

#: Pairs multiplied at once: their components stay in a core's cache.
_PAIRS = 1024

#: Bytes of the block of scores that one matrix product fills.
_BLOCK_BYTES = 16 << 20

#: Groups of documents for each result wanted: more make the threshold tighter and dearer.
_GROUPS_PER_RESULT = 8

#: Unit roundoff of float32.
_UNIT = 2.0**-24


def pair_scores(queries: Float32, query: Int32 | Int64, vectors: Float32, rows: Int64) -> Float32:
    """Inner products float32[m] of the pairs (queries[query[i]], vectors[rows[i]]).

    Products are rounded to float32 and added up by numpy's pairwise summation, whose order
    depends on nothing but the dimension. So a pair has the same bits in any batch, which no
    matrix product promises.

    Args:
        queries: float32[Q, d].
        query: int32[m] or int64[m].
        vectors: float32[n, d].
        rows: int64[m].
    """
    scores = np.empty(len(rows), dtype=np.float32)
    for begin in range(0, len(rows), _PAIRS):
        batch = slice(begin, begin + _PAIRS)
        products = queries[query[batch]]
        products *= vectors[rows[batch]]
        np.add.reduce(products, axis=1, out=scores[batch])
    return scores


def check_queries(queries: Float32) -> None:
    """Raises InputError where a query vector is not finite."""
    wrong = np.flatnonzero(~np.isfinite(queries).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(queries)} query vectors are not finite, first {wrong[0]}.",
            "Look at the text of that query and at the encoder's dtype.",
        )


def candidates(
    queries: Float32, part: PartBlock, starts: Int64, k: int, floor: Float32
) -> Iterator[tuple[Int64, Int64]]:
    """Pairs (query, row) that hold each query's k best segments of a part, and few others.

    A segment is a run of rows that counts once: a document, or a single row. The k-th largest of
    the maxima of disjoint groups of segments is a lower bound of the k-th best segment's score,
    so rows under it can go. Matrix products err, so the bound is lowered by the largest error
    that they and `pair_scores` can make: |fl(x·y) - x·y| ≤ γ(d)·|x|·|y|, γ(d) = du/(1 - du)
    (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).

    Args:
        queries: float32[Q, d], finite.
        part: the part.
        starts: int64[s], the first row of each segment.
        k: segments wanted.
        floor: float32[Q], scores under which a query wants none.

    Yields:
        query int64[m] and row int64[m], ascending by (query, row), only live rows; a block of
        queries at a time, since all rows are candidates where all vectors are equal.
    """
    groups = group_starts(starts, k)
    hidden = np.flatnonzero(~part.live)
    for begin, scores in _score_blocks(queries, part):
        scores[:, hidden] = -np.inf
        block = slice(begin, begin + len(scores))
        least = np.maximum(_kth_maximum(scores, groups, k), floor[block])
        bound = least - margin(queries[block], part)
        query, row = np.divmod(np.flatnonzero(scores >= bound[:, None]), part.rows)
        seen = part.live[row]
        yield query[seen] + begin, row[seen]


def group_starts(starts: Int64, k: int) -> Int64:
    """int64[g]: the first row of each group of neighbouring segments, of starts int64[s]."""
    return starts[:: max(1, len(starts) // (_GROUPS_PER_RESULT * k))]


def margin(queries: Float32, part: PartBlock) -> Float32:
    """float32[Q]: twice the largest difference between a matrix product and `pair_scores`."""
    terms = queries.shape[1] * _UNIT
    gamma = terms / (1 - terms)
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    # The last term covers what underflows, the factor the roundings of the bound itself.
    least = terms * np.finfo(np.float32).tiny / _UNIT
    twice: Float32 = (4.01 * gamma * norms * part.longest + least).astype(np.float32)
    return twice


def _score_blocks(queries: Float32, part: PartBlock) -> Iterator[tuple[int, Float32]]:
    """(first query, float32[b, n] approximate scores) in blocks of bounded memory, reused."""
    if not part.rows:
        return
    height = max(1, _BLOCK_BYTES // (4 * part.rows))
    buffer = np.empty((min(height, len(queries)), part.rows), dtype=np.float32)
    for begin in range(0, len(queries), height):
        block = queries[begin : begin + height]
        yield begin, np.matmul(block, part.vectors.T, out=buffer[: len(block)])


def _kth_maximum(scores: Float32, groups: Int64, k: int) -> Float32:
    """float32[b]: the k-th largest of the groups' maxima; -inf where there are fewer groups."""
    if len(groups) < k:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    maxima = np.maximum.reduceat(scores, groups, axis=1)
    place = len(groups) - k
    kth: Float32 = np.partition(maxima, place, axis=1)[:, place]
    return kth
