"""The one order of hits, and how hits of several parts or shards become one ranking.

Total order: query ascending, score descending, doc_id ascending by its UTF-8 bytes, passage
ascending. A document counts once for each query, by its best passage. `fold_and_cut` is
associative: cutting pieces first and their concatenation afterwards gives the same table as
cutting everything at once, so hits can be merged in any grouping. It also holds for any order of
the pieces where (query, doc_id, passage) names one hit, as in a version it does.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Float32, Int32, Int64, UInt64
from shardrank.core.errors import InputError
from shardrank.core.schemas import HITS

#: Hits that are put in order at once: their keys take several times their own memory.
SORTED_AT_ONCE = 1 << 18


def merge(tables: Sequence[pa.Table], k: int) -> pa.Table:
    """The k best documents of each query over all tables; see `fold_and_cut`.

    Args:
        tables: schema HITS, each sorted by query.
        k: documents kept for each query, at least 1.
    """
    whole = (pa.concat_tables([HITS.empty_table(), *run]) for run in runs(tables))
    return pa.concat_tables([fold_and_cut(run, k) for run in whole])


def runs(tables: Sequence[pa.Table]) -> Iterator[list[pa.Table]]:
    """Each table's hits of some queries, then of the next ones; at least one run.

    As many queries are in a run as have SORTED_AT_ONCE hits on average.

    Args:
        tables: schema HITS, each sorted by query.
    """
    rows = sum(table.num_rows for table in tables)
    queries = 1 + max((table["query"][-1].as_py() for table in tables if table.num_rows), default=0)
    step = max(1, SORTED_AT_ONCE * queries // max(1, rows))
    bounds = np.append(np.arange(0, queries, step), queries)
    cuts = [np.searchsorted(table["query"].to_numpy(), bounds).tolist() for table in tables]
    for run in range(len(bounds) - 1):
        yield [t.slice(c[run], c[run + 1] - c[run]) for t, c in zip(tables, cuts, strict=True)]


def fold_and_cut(hits: pa.Table, k: int) -> pa.Table:
    """Each document's best passage, in the total order, the first k documents of each query.

    Args:
        hits: schema HITS, in any order; `query` is not negative.
        k: documents kept for each query, at least 1.

    Raises:
        InputError: a score is NaN.
    """
    query, passage, score, part, row = (
        hits[name].to_numpy() for name in ("query", "passage", "score", "part", "row")
    )
    documents, ids = number_ids(hits["doc_id"])
    kept = top_order(query, documents, passage, score, k)
    numbers = [column[kept] for column in (passage, score, part, row)]
    return pa.Table.from_arrays(
        [pa.array(query[kept]), ids.take(pa.array(documents[kept])), *map(pa.array, numbers)],
        schema=HITS,
    )


def top_order(query: Int32, doc: Int32, passage: Int32, score: Float32, k: int) -> Int64:
    """Which of n hits stay, and in which order: indices int64[≤ n].

    Args:
        query: int32[n], not negative.
        doc: int32[n], not negative; numbers compare as the documents' ids do.
        passage: int32[n].
        score: float32[n].
        k: documents kept for each query.

    Raises:
        InputError: a score is NaN.
    """
    down = descending(score)
    document = pack(query, doc)
    order = np.lexsort((pack(down, passage.view(np.uint32) ^ np.uint32(1 << 31)), document))
    best = order[run_starts(document[order])]
    # `best` is in document order within a query, and the sort is stable: ties stay in that order.
    best = best[np.argsort(pack(query, down)[best], kind="stable")]
    return best[_ranks(query[best]) <= k]


def ranks(hits: pa.Table) -> Int32:
    """int32[n]: each hit's rank in its query, from 1, for hits that are in the total order."""
    return _ranks(hits["query"].to_numpy())


def floors(hits: pa.Table, queries: int, k: int) -> Float32:
    """float32[queries]: the score that a new hit must at least have to enter each top k.

    Args:
        hits: what `fold_and_cut(…, k)` returned.
        queries: how many queries there are; one with fewer than k hits has the floor -inf.
        k: documents kept for each query.
    """
    last = np.flatnonzero(ranks(hits) == k)
    result = np.full(queries, -np.inf, dtype=np.float32)
    result[hits["query"].to_numpy()[last]] = hits["score"].to_numpy()[last]
    return result


def rescored(hits: pa.Table, scores: Float32) -> pa.Table:
    """HITS, a document once for each query, by other scores float32[n], in the total order."""
    place = hits.column_names.index("score")
    hits = hits.set_column(place, HITS.field("score"), pa.array(scores))
    order = [("query", "ascending"), ("score", "descending"), ("doc_id", "ascending")]
    return hits.sort_by(order).combine_chunks()


class Best:
    """The k best documents of each query over tables that come one after another.

    However many come, it never holds more than three times what it keeps in the end: hits wait
    until they are as many as those kept, and are then merged with them.
    """

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self._kept = HITS.empty_table()
        self._waiting: list[pa.Table] = []
        self._floor = np.full(queries, -np.inf, dtype=np.float32)

    @property
    def floor(self) -> Float32:
        """float32[queries]: scores under which a hit is not wanted; see `floors`."""
        return self._floor

    def add(self, hits: pa.Table) -> None:
        """Take in what `fold_and_cut(…, k)` returned for some other part of the documents."""
        wanted = hits["score"].to_numpy() >= self._floor[hits["query"].to_numpy()]
        self._waiting.append(hits.filter(pa.array(wanted)))
        # The floor soon lets few hits through, so merging again for each table would be waste.
        if sum(table.num_rows for table in self._waiting) >= self._kept.num_rows:
            self.table()

    def table(self) -> pa.Table:
        """What `merge` gives for all tables that were added: HITS in the total order."""
        if not self._kept.num_rows and len(self._waiting) == 1:
            self._kept = self._waiting[0]  # it is in order, and cut
        elif self._waiting:
            self._kept = merge([self._kept, *self._waiting], self._k)
        self._waiting = []
        self._floor = floors(self._kept, len(self._floor), self._k)
        return self._kept


def split(hits: pa.Table, starts: Sequence[int]) -> Iterator[pa.Table]:
    """The hits of queries starts[i] to starts[i + 1], counted from starts[i], for each such i.

    Args:
        hits: schema HITS, sorted by query; every column but that is only looked at, not copied.
        starts: ascending numbers of queries.
    """
    rows = np.searchsorted(hits["query"].to_numpy(), starts)
    for low, (begin, end) in zip(starts, pairwise(rows), strict=False):
        mine = hits.slice(begin, end - begin)
        query = pc.subtract(mine["query"], pa.scalar(low, pa.int32()))
        yield mine.set_column(0, HITS.field("query"), query)


def number_ids(doc_ids: pa.ChunkedArray) -> tuple[Int32, pa.StringArray]:
    """int32[n], and the distinct ids that they number in the order of their bytes (Arrow's)."""
    encoded = doc_ids.dictionary_encode().unify_dictionaries()
    if encoded.num_chunks == 0:
        return np.empty(0, np.int32), pa.array([], pa.string())
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    ids = encoded.chunk(0).dictionary
    order = pc.sort_indices(ids)
    places = np.empty(len(ids), dtype=np.int32)
    places[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
    return places[codes], ids.take(order)


def descending(score: Float32) -> npt.NDArray[np.uint32]:
    """uint32[n] that ascend as the scores descend; 0.0 and -0.0 are equal.

    Flips an IEEE 754 float's bits so that they compare as integers do.
    """
    wrong = np.flatnonzero(np.isnan(score))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(score)} scores are NaN, first in row {wrong[0]}.",
            "Look for non-finite vectors or logits in the model's output.",
        )
    bits = (score + np.float32(0)).view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, bits, ~bits & np.uint32(0x7FFFFFFF))


def pack(high: npt.NDArray[np.integer], low: npt.NDArray[np.integer]) -> UInt64:
    """uint64[n] that compare as the pairs (high, low) of 32-bit numbers, none negative, do."""
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


def run_starts(values: npt.NDArray[np.integer]) -> Int64:
    """Where a run of equal values begins."""
    return np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])


def _ranks(query: Int32) -> Int32:
    """int32[n]: place in the run of equal values, from 1."""
    starts = run_starts(query)
    lengths = np.diff(np.append(starts, len(query)))
    return (np.arange(len(query)) - np.repeat(starts, lengths) + 1).astype(np.int32)
