"""Documents that are no hits of some queries, by lists that the queries bring with them.

BRIGHT excludes what a query was made from (`excluded_ids`, arXiv:2407.12883), and who mines hard
negatives what is known to be relevant. Such a document is passed over as if the index did not hold
it, so that k others remain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.topk import number_ids, pack

#: The column of a block of queries that holds them: list<string>, without nulls.
EXCLUDED = "exclude"
#: Its type.
LISTS = pa.list_(pa.string())


@dataclass(frozen=True)
class ExcludedCounts:
    """What the queries of a batch exclude.

    Attributes:
        queries: those that exclude something.
        documents: distinct documents that are named.
        absent: of these, those that the index does not hold.
    """

    queries: int
    documents: int
    absent: int

    @property
    def held(self) -> int:
        """Documents that are in the index."""
        return self.documents - self.absent


def longest(lists: pa.ChunkedArray) -> int:
    """Documents in the longest of these lists."""
    return pc.max(pc.list_value_length(lists)).as_py() or 0


def named_documents(lists: Sequence[pa.ChunkedArray]) -> list[str]:
    """The distinct ids in all of them, sorted."""
    return sorted(set().union(*(pc.list_flatten(each).to_pylist() for each in lists)))


def excluded_pairs(lists: pa.ChunkedArray) -> pa.Table:
    """query int32, doc_id string: each document of each query's list, in their order."""
    whole = lists.combine_chunks()
    query = pc.list_parent_indices(whole).cast(pa.int32())
    return pa.table({"query": query, "doc_id": pc.list_flatten(whole)})


def without_excluded(hits: pa.Table, lists: pa.ChunkedArray) -> pa.Table:
    """HITS but for documents in the list of their query.

    Args:
        hits: HITS in any order; `query` counts within the block.
        lists: list<string>[queries], of the block's queries.
    """
    excluded = excluded_pairs(lists)
    ids = pa.chunked_array([*hits["doc_id"].chunks, *excluded["doc_id"].chunks], pa.string())
    query = np.concatenate([hits["query"].to_numpy(), excluded["query"].to_numpy()])
    documents, _ = number_ids(ids)
    keys = pack(query, documents)
    left = np.isin(keys[: hits.num_rows], keys[hits.num_rows :], invert=True)
    return hits.filter(pa.array(left))
