"""Drawing negatives for each query, the same on any cluster: by keys, without a generator."""

import numpy as np

from shardrank.core.arrays import Bool, Int64, UInt64
from shardrank.labels.scored import mix

_QUERIES = 256
_LAST = np.uint64(np.iinfo(np.uint64).max)


def draw(query_keys: UInt64, pool_keys: UInt64, banned: Bool, count: int) -> tuple[Int64, Int64]:
    """(query, pool row) of `count` draws without replacement for each query, or as many as there
    are; each depends on nothing but its query's key, the pool and what is banned.

    Args:
        query_keys: uint64[Q].
        pool_keys: uint64[P].
        banned: bool[Q, P], what a query may not get.
        count: at most P.
    """
    count = min(count, len(pool_keys))
    queries, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for begin in range(0, len(query_keys) if count else 0, _QUERIES):
        batch = slice(begin, begin + _QUERIES)
        keys = mix(mix(query_keys[batch])[:, None] ^ pool_keys[None, :])
        keys[banned[batch]] = _LAST
        first = np.argsort(keys, axis=1, kind="stable")[:, :count]
        allowed = ~np.take_along_axis(banned[batch], first, axis=1)
        query, place = np.nonzero(allowed)
        queries.append(query + begin)
        rows.append(first[query, place])
    return np.concatenate(queries), np.concatenate(rows)
