"""Loops of late interaction by centroids, as machine code; see `index/plaid.py`."""

import numpy as np

from shardrank.core.arrays import Bool, Int16, Int32, Int64
from shardrank.kernels.centroid_lanes import WIDTH, largest_products
from shardrank.kernels.compiled import compiled

#: Of a key its lower half holds the position, from the highest down.
_LOW = (1 << 32) - 1


@compiled
def narrow(products: Int32, begin: int, tokens: int, shift: int, near: Int16) -> None:
    """near[c, t] = products[c, begin + t] >> shift, of t < tokens; 0 of the others.

    Args:
        products: int32[k, n].
        begin, tokens: those of a query.
        shift: bits that are left out, so that no product has more than 16.
        near: int16[k, w], overwritten.
    """
    for centroid in range(len(products)):
        theirs, mine = products[centroid, begin : begin + tokens], near[centroid]
        for token in range(tokens):
            mine[token] = theirs[token] >> shift
        for token in range(tokens, len(mine)):
            mine[token] = 0


@compiled
def nearest(near: Int16, tokens: int, out: Int32) -> None:
    """The centroids of the largest products of each token, best first, the lower of equals first.

    Args:
        near: int16[k, w], above -2^15.
        tokens: of the query; what stands behind them is not looked at.
        out: int32[tokens, n], overwritten; n ≤ k.
    """
    count, wanted = near.shape[1], out.shape[1]
    best = np.full((tokens, wanted), -(1 << 15), np.int16)
    floors = np.full(count, (1 << 15) - 1, np.int16)
    floors[:tokens] = -(1 << 15)
    for centroid in range(len(near)):
        mine, above = near[centroid], 0
        for token in range(count):
            above |= mine[token] > floors[token]
        if not above:
            continue
        for token in range(tokens):
            product = mine[token]
            if product > floors[token]:
                place = wanted - 1
                while place > 0 and best[token, place - 1] < product:
                    best[token, place] = best[token, place - 1]
                    out[token, place] = out[token, place - 1]
                    place -= 1
                best[token, place], out[token, place] = product, centroid
                floors[token] = best[token, wanted - 1]


@compiled
def meet_passages(
    probed: Int32,
    ends: Int64,
    passages: Int32,
    live: Bool,
    number: int,
    seen_centroids: Int32,
    seen_passages: Int32,
    found: Int32,
    count: int,
) -> int:
    """The live passages of centroids that were not met before, behind those that were found.

    Args:
        probed: int32[tokens, n].
        ends, passages: int64[k + 1] and int32[p], the passages of each centroid.
        live: bool[rows]; none: all are.
        number: of the query, which stands where it met a centroid or a passage.
        seen_centroids, seen_passages: int32[k] and int32[rows], changed.
        found: int32[rows], of which `count` are filled.

    Returns:
        How many are filled now.
    """
    every = len(live) == 0
    for token in range(len(probed)):
        for place in range(probed.shape[1]):
            centroid = probed[token, place]
            if seen_centroids[centroid] == number:
                continue
            seen_centroids[centroid] = number
            for i in range(ends[centroid], ends[centroid + 1]):
                passage = passages[i]
                if seen_passages[passage] != number and (every or live[passage]):
                    seen_passages[passage] = number
                    found[count] = passage
                    count += 1
    return count


@compiled
def interact(near: Int16, ends: Int64, centroids: Int32, found: Int32, keys: Int64) -> None:
    """keys[i] = of passage found[i] the sum, over a query's tokens, of the largest product with one
    of its centroids, above its position from the highest down: of equal sums the lower position has
    the larger key.

    Args:
        near: int16[k, w], of centroids and the query's tokens; w a multiple of WIDTH.
        ends, centroids: int64[rows + 1] and int32[c], the centroids of each passage, of which each
            of `found` has some.
        found: int32[m].
        keys: int64[m], overwritten.
    """
    flat, width = near.reshape(-1), near.shape[1]
    for i in range(len(found)):
        begin, end = ends[found[i]], ends[found[i] + 1]
        total = 0
        for column in range(0, width, WIDTH):
            total += largest_products(flat, width, column, centroids, begin, end)
        keys[i] = (total << 32) | (_LOW - np.int64(found[i]))


@compiled
def distinct(numbers: Int64, ends: Int64, seen: Int64, sizes: Int64, out: Int32) -> int:
    """The different centroids of each passage, as they are first met.

    Args:
        numbers: int64[t], of each token.
        ends: int64[n + 1], where each passage's tokens begin.
        seen: int64[k], all below 0; changed.
        sizes: int64[n], overwritten: how many each has.
        out: int32[t], of which as many are filled as are returned.
    """
    count = 0
    for passage in range(len(sizes)):
        before = count
        for token in range(ends[passage], ends[passage + 1]):
            centroid = numbers[token]
            if seen[centroid] != passage:
                seen[centroid] = passage
                out[count] = centroid
                count += 1
        sizes[passage] = count - before
    return count


@compiled
def by_centroid(ends: Int64, centroids: Int32, begins: Int64, out: Int32) -> None:
    """The passages of each centroid, ascending.

    Args:
        ends, centroids: int64[rows + 1] and int32[c], the centroids of each passage.
        begins: int64[k], where each one's passages begin; changed.
        out: int32[c], overwritten.
    """
    for passage in range(len(ends) - 1):
        for i in range(ends[passage], ends[passage + 1]):
            centroid = centroids[i]
            out[begins[centroid]] = passage
            begins[centroid] += 1
