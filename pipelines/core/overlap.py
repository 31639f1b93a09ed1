"""How much alike two rankings of the same queries are.

Rank-biased overlap weighs agreement at each depth by p^depth (Webber, Moffat and Zobel, 2010,
https://doi.org/10.1145/1852102.1852106, equation 32: extrapolated from the depth that is seen).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float64, Int64

#: p of rank-biased overlap; the documents that it looks at, beyond which lie 0.003 % of its weight;
#: and the first documents whose share is counted.
P, DEPTH, FIRST = 0.9, 100, 10


@dataclass(frozen=True, eq=False)
class Overlap:
    """How much alike two rankings of each query are, from 0 to 1.

    Attributes:
        queries: string[n], those that both rank.
        first: share of the first 10 documents that both hold, of the longer of the two lists.
        rbo: rank-biased overlap.
    """

    queries: pa.Array
    first: Float64
    rbo: Float64


def overlap(one: pa.Table, other: pa.Table) -> Overlap:
    """Of the queries that are in both tables (columns query_id, doc_id and rank, of RANKINGS)."""
    one, other = (each.filter(pc.less_equal(each["rank"], DEPTH)) for each in (one, other))
    mine, theirs = (pc.unique(each["query_id"]) for each in (one, other))
    queries = mine.filter(pc.is_in(mine, theirs))
    sizes = [_sizes(each, queries) for each in (one, other)]
    both = one.join(other, ["query_id", "doc_id"], right_suffix="_2", join_type="inner")
    both = both.filter(pc.is_in(both["query_id"], queries))
    query = pc.index_in(both["query_id"], queries).to_numpy().astype(np.int64)
    # A document is in both lists from the deeper of its two ranks on.
    meets = np.maximum(both["rank"].to_numpy(), both["rank_2"].to_numpy())
    return Overlap(
        queries,
        _share(query[meets <= FIRST], sizes),
        _biased(query, meets, np.minimum(*sizes)),
    )


def _sizes(table: pa.Table, queries: pa.Array) -> Int64:
    places = pc.index_in(table["query_id"], queries).drop_null().to_numpy()
    return np.bincount(places, minlength=len(queries))


def _share(met: Int64, sizes: list[Int64]) -> Float64:
    longer = np.minimum(np.maximum(*sizes), FIRST)
    found: Float64 = np.bincount(met, minlength=len(longer)) / longer
    return found


def _biased(query: Int64, meets: Int64, depths: Int64) -> Float64:
    """Of lists that are looked at down to the shorter one's end."""
    counts = np.zeros((len(depths), DEPTH + 1))
    np.add.at(counts, (query, meets), 1.0)
    agreed, depth = counts.cumsum(axis=1)[:, 1:], np.arange(1, DEPTH + 1)
    terms = agreed / depth * P**depth * (depth <= depths[:, np.newaxis])
    last = agreed[np.arange(len(depths)), depths - 1] / depths * P**depths
    biased: Float64 = terms.sum(axis=1) * (1 - P) / P + last
    return biased
