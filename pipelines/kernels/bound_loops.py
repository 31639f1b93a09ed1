"""The loops of exact search, as machine code: 8-bit products say which rows may be among the best.

What a product of 8-bit rows can be wrong by is known: |q·d - q'·d'| ≤ |q|·|d - d'| + |q - q'|·|d'|
(Cauchy-Schwarz), where q' and d' are the rounded vectors.
"""

from typing import NamedTuple

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int32, Int64
from shardrank.kernels.compiled import compiled
from shardrank.kernels.instructions import STRIDE, fetch, lowest, reaching
from shardrank.kernels.rounding_loops import Rounded
from shardrank.kernels.score_loops import score_pair

#: Rows that are asked for before they are scored.
_AHEAD = 3

#: The largest number of 32 bits.
_LARGEST = 0x7FFFFFFF

#: Unit roundoff of float32.
_UNIT = 2.0**-24


class Owners(NamedTuple):
    """Whose passages rows are.

    Attributes:
        documents: int32[n], the document of each row; rows of one follow each other.
        alone: whether each row is the only one of its document.
    """

    documents: Int32
    alone: bool


class Asked(NamedTuple):
    """What a block of q queries is looked for with; all in units of a query's scale.

    Attributes:
        norms: float32[q], at least those of the queries.
        errors: float32[q], at least those of their rounding.
        floors: float32[q], under which a row is not wanted; raised.
        shares: float32[q], what is taken off a bound for what underflows.
    """

    norms: Float32
    errors: Float32
    floors: Float32
    shares: Float32


class Near(NamedTuple):
    """The rows that may be among the best of each query.

    Attributes:
        rows: int32[q, room], ascending.
        lows: float32[q, room], what their products surely are; once scored, their scores.
        highs: float32[q, room], what they are at most; -inf once scored.
        counts: int32[q], how many they are.
    """

    rows: Int32
    lows: Float32
    highs: Float32
    counts: Int32


class Vectors(NamedTuple):
    """Vectors of a block of q queries and of a part, flat.

    Attributes:
        queries: float32[q · d].
        rows: float32[m · d].
        places: int64[n], which of these is each of the n rounded rows.
        plan: see `score_loops.summation`.
    """

    queries: Float32
    rows: Float32
    places: Int64
    plan: Int64


class Least(NamedTuple):
    """Scores under which a row is not wanted, float32[q], and what turns them into the units of
    `Asked`, float64[q]."""

    scores: Float32
    factors: Float64


@compiled
def collect_near(
    products: Int32, begin: int, rows: Rounded, owners: Owners, asked: Asked, near: Near, k: int
) -> bool:
    """Keep the rows that may reach their query's floor, and raise floors where room runs out.

    Args:
        products: int32[q, m] of the queries' and the rows' 8-bit numbers; 32 divides m,
            and where that is more than there are rows the last ones are zeros.
        begin: the first of these rows.
        rows: all of them.
        owners: of the rows.
        asked, near: changed.
        k: documents wanted.

    Returns:
        Whether there was room.
    """
    chunks, most = products.shape[1] // STRIDE, near.rows.shape[1] - STRIDE
    errors, lengths = np.zeros(chunks, np.float32), np.zeros(chunks, np.float32)
    for i in range(products.shape[1]):
        errors[i // STRIDE] = max(errors[i // STRIDE], rows.errors[begin + i])
        lengths[i // STRIDE] = max(lengths[i // STRIDE], rows.lengths[begin + i])
    keys = np.empty(near.rows.shape[1], np.int32)
    for query in range(len(products)):
        mine, found = products[query], near.rows[query]
        lows, highs = near.lows[query], near.highs[query]
        norm, error = asked.norms[query], asked.errors[query]
        count, floor = int(near.counts[query]), asked.floors[query]
        for chunk in range(chunks):
            first = begin + chunk * STRIDE
            bound = norm * errors[chunk] + error * lengths[chunk]
            wanted = reaching(mine, chunk * STRIDE, rows.scales, first, floor - bound)
            if first + STRIDE > len(owners.documents):
                wanted &= np.uint32((1 << (len(owners.documents) - first)) - 1)
            while wanted:
                place = lowest(np.uint64(wanted))
                wanted &= wanted - np.uint32(1)
                at = first + place
                value = np.float32(mine[chunk * STRIDE + place]) * rows.scales[at]
                room = norm * rows.errors[at] + error * rows.lengths[at]
                found[count], highs[count] = at, value + room
                low = value - room
                lows[count] = low if low > -np.inf else -np.inf  # nor a NaN
                count += int(not value + room < floor)
            if count > most:
                near.counts[query] = count
                raise_floor(query, owners, asked, near, k, keys)
                count, floor = int(near.counts[query]), asked.floors[query]
                if count > most:
                    return False
        near.counts[query] = count
    return True


@compiled
def raise_floor(query: int, owners: Owners, asked: Asked, near: Near, k: int, keys: Int32) -> None:
    """Raise a query's floor to what its k-th best document surely has; drop what is under it."""
    found, lows, highs = near.rows[query], near.lows[query], near.highs[query]
    count = int(near.counts[query])
    sure = _at_most_kth(lows, found, owners, count, k, keys) - asked.shares[query]
    floor = max(asked.floors[query], sure)
    kept = 0
    for i in range(count):
        high = highs[i]
        found[kept], lows[kept], highs[kept] = found[i], lows[i], high
        kept += int(not high < floor)
    asked.floors[query], near.counts[query] = floor, kept


@compiled
def _at_most_kth(
    values: Float32, rows: Int32, owners: Owners, count: int, k: int, keys: Int32
) -> np.float32:
    """What k documents reach by their best rows, and few more do; -inf where there are fewer.

    By bisection of the values' bits, which compare as integers do: one step is a few instructions
    on vectors.
    """
    bits = values.view(np.int32)
    for i in range(count):
        keys[i] = bits[i] ^ ((bits[i] >> 31) & 0x7FFFFFFF)
    if not owners.alone:
        count = _best_of_each(keys, rows, owners.documents, count)
    low, high = np.int32(_LARGEST), np.int32(-_LARGEST)
    for i in range(count):
        low, high = min(low, keys[i]), max(high, keys[i])
    if count < k:
        return np.float32(-np.inf)
    below, above = np.int64(low), np.int64(high) + 1
    while above - below > 1:
        middle, reach = np.int32((below + above) >> 1), np.int32(0)
        for i in range(count):
            reach += np.int32(keys[i] >= middle)
        if reach < k:
            above = np.int64(middle)
        else:
            below = np.int64(middle)
        if k <= reach <= k + (k >> 5):
            break
    least = high
    for i in range(count):
        least = min(least, keys[i] if keys[i] >= below else high)
    keys[0] = least ^ ((least >> 31) & 0x7FFFFFFF)
    kth: np.float32 = keys.view(np.float32)[0]
    return kth


@compiled
def _best_of_each(keys: Int32, rows: Int32, documents: Int32, count: int) -> int:
    """Bring the largest key of each document to the front; returns how many there are."""
    met, own = -1, -1
    for i in range(count):
        document, key = documents[rows[i]], keys[i]
        met += int(document != own)
        keys[met] = key if document != own else max(keys[met], key)
        own = document
    return met + 1


@compiled
def score_near(
    vectors: Vectors, owners: Owners, asked: Asked, near: Near, least: Least, k: int
) -> None:
    """Score exactly what may be among the best.

    First what surely reaches the floor, as at least k documents do. The least of their scores is
    a floor for the others. What is left in the end reaches the score of the k-th best document,
    and few others nearly do.
    """
    keys = np.empty(near.rows.shape[1], np.int32)
    for query in range(len(near.counts)):
        raise_floor(query, owners, asked, near, k, keys)
    _score_some(vectors, asked.floors, near, True)
    for query in range(len(near.counts)):
        floor = _exact_floor(query, owners, near, least, k, keys)
        under = 1 - 4 * _UNIT * np.sign(floor)  # what rounding to float32 may add is taken off
        own = np.float32(floor * least.factors[query] * under) - asked.shares[query]
        asked.floors[query] = max(asked.floors[query], own)
    _score_some(vectors, asked.floors, near, False)
    for query in range(len(near.counts)):
        floor, kept = _exact_floor(query, owners, near, least, k, keys), 0
        found, scores, highs = near.rows[query], near.lows[query], near.highs[query]
        for i in range(near.counts[query]):
            found[kept], scores[kept] = found[i], scores[i]
            kept += int(not scores[i] < floor and highs[i] == -np.inf)
        near.counts[query] = kept


@compiled
def gather_near(near: Near, places: Int64, query: Int64, row: Int64, scores: Float32) -> None:
    """What is left of each query, one query after another: all filled; `places` as in `Vectors`."""
    at = 0
    for number in range(len(near.counts)):
        for i in range(near.counts[number]):
            query[at], row[at] = number, places[near.rows[number, i]]
            scores[at] = near.lows[number, i]
            at += 1


@compiled
def _exact_floor(
    query: int, owners: Owners, near: Near, least: Least, k: int, keys: Int32
) -> np.float32:
    """What the k-th best document of those scored has at least, or what is wanted at least."""
    scores, found, count = near.lows[query], near.rows[query], int(near.counts[query])
    kth = _at_most_kth(scores, found, owners, count, k, keys)
    wanted: np.float32 = max(least.scores[query], kth)
    return wanted


@compiled
def _score_some(vectors: Vectors, floors: Float32, near: Near, sure: bool) -> None:
    """Score what surely reaches its query's floor; or what may, and was not scored then.

    What is not scored yet has the score -inf. Rows lie anywhere, so they are asked for beforehand.
    """
    size, sums = vectors.plan[-1, 0], np.empty(len(vectors.plan) + 1, np.float32)
    chosen = np.empty(near.rows.shape[1], np.int32)
    for query in range(len(near.counts)):
        found, lows, highs = near.rows[query], near.lows[query], near.highs[query]
        count, floor = 0, floors[query]
        for i in range(near.counts[query]):
            chosen[count] = i
            count += int(not (lows[i] if sure else highs[i]) < floor)
            if sure:
                lows[i] = lows[i] if not lows[i] < floor else np.float32(-np.inf)
        for j in range(count):
            ahead = vectors.places[found[chosen[min(j + _AHEAD, count - 1)]]] * size
            fetch(vectors.rows, ahead, size)
            i = chosen[j]
            place = vectors.places[found[i]] * size
            lows[i] = score_pair(
                vectors.queries, query * size, vectors.rows, place, vectors.plan, sums
            )
            highs[i] = np.float32(-np.inf)
