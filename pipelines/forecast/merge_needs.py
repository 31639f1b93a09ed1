"""What merging needs: the hits of all shards, of one retriever or of several, become one list."""

import math
from collections.abc import Sequence

from shardrank.forecast.needs import (
    COUNT_MEMORY,
    HIT_BYTES,
    MERGED_MEMORY,
    PAIR_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    Need,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Searching, Work
from shardrank.version.sizing import bucket_parts


def sorted_hits(kept: int, shards: int) -> float:
    """Hits that are put in order while so many are kept of one shard after another.

    Of the n-th shard's, the n-th part is better than what those before it left; as counted, what
    passes is sorted with twice as much that is kept or was sorted before.
    """
    return 3 * kept * math.log(shards)


def bucket(work: Work) -> int:
    """Parts whose hits share a file."""
    return bucket_parts(work.parts, work.block_rows * work.k)


def merge_need(work: Work, stage: str, lists: Sequence[Searching], rates: Rates) -> Need:
    """Every shard of a retriever gives a query as many hits as are kept of it in the end, and few
    of them pass; several retrievers' lists are fused, and kept beside. Parts of queries have hits
    as queries do, which are fused with these."""
    kept, several = work.block_rows * work.k, len(lists) > 1
    share = 1 + work.query_parts / work.queries
    shards = [work.over_searched(each).shards for each in lists]
    pieces = [_hits(work, each) * share for each in lists]
    best = [work.block_rows * each.k * share for each in lists]
    ordered = sum(sorted_hits(round(b), n) for b, n in zip(best, shards, strict=True))
    fused = sum(best) if several or work.query_parts else 0.0
    touched = min(work.parts, kept)
    buckets, files = math.ceil(touched / bucket(work)), math.ceil(share) * sum(shards)
    hits = sum(pieces)
    return Need(
        stage,
        work.blocks,
        "task",
        work_s=(hits + fused) / rates.read_rows_per_core_s
        + ordered / rates.merged_hits_per_core_s
        + fused / rates.fused_hits_per_core_s,
        files=files + 1 + buckets + (len(lists) if several else 0),
        bytes=(hits + kept + (fused if several else 0)) * HIT_BYTES + kept * PAIR_BYTES,
        memory=PROCESS_BYTES + (kept + fused) * MERGED_MEMORY,
        spec=files * REF_BYTES,
        gathered=work.blocks * (touched * COUNT_MEMORY + buckets * REF_MEMORY),
    )


def _hits(work: Work, search: Searching) -> int:
    """Of a block in all shards of a retriever."""
    over = work.over_searched(search)
    return over.shards * work.block_rows * min(search.k, over.shard_rows)
