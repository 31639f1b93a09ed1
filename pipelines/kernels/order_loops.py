"""The loop that puts each query's hits in their total order, as machine code."""

import numpy as np

from shardrank.core.arrays import Int32, Int64, UInt64
from shardrank.kernels.compiled import compiled


@compiled
def best_documents(
    query: Int64, documents: Int32, keys: UInt64, room: int, k: int, out: Int64
) -> int:
    """Which hits stay: of each document its best passage, of each query the k best documents.

    Args:
        query: int64[m], ascending.
        documents: int32[m], less than `room`; numbers compare as the documents' ids do. Those of a
            query's document follow each other.
        keys: uint64[m], which ascend from the best passage of a document to its last; the upper
            half is the score's.
        room: documents that there are.
        k: documents kept for each query.
        out: int64[m], filled in the total order of `shardrank.core.topk`.

    Returns:
        How many stay.
    """
    places, hits = np.empty(room, np.int64), np.empty(room, np.uint64)
    begin, kept = 0, 0
    while begin < len(query):
        count, own, end = 0, -1, begin
        while end < len(query) and query[end] == query[begin]:
            document = documents[end]
            if document != own:
                own, count = document, count + 1
                places[own] = end
            elif keys[end] < keys[places[own]]:
                places[own] = end
            score = keys[places[own]] >> np.uint64(32)
            hits[count - 1] = (score << np.uint64(32)) | np.uint64(own)
            end += 1
        mine = hits[:count]
        mine.sort()
        for i in range(min(k, count)):
            out[kept] = places[np.int64(mine[i] & np.uint64(0xFFFFFFFF))]
            kept += 1
        begin = end
    return kept
