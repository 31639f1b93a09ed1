"""What the stages of the rank flow need, from the way in which they read and write."""

import math

from shardrank.forecast.needs import (
    COUNT_MEMORY,
    HIT_BYTES,
    MERGED_MEMORY,
    PAIR_BYTES,
    PART_SPEC_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    SCORE_BYTES,
    SPECIALS,
    Need,
    forward_flops,
    model_memory,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import bucket, rerank_needs, score_files
from shardrank.forecast.work import Work
from shardrank.version.sizing import BYTES_PER_TOKEN

#: Stored bytes of a ranking, and of its TREC line.
RANKING_BYTES = 18
TREC_BYTES = 60

#: Bytes in memory of each row while it is worked on, measured at two million that are put in order
#: at once, and at 200,000 rankings.
COLLATED_MEMORY = 500
DELIVERED_MEMORY = 360

#: How often the rankings are read once they are there: a run, metrics, and the report's two
#: histograms of two walks each, its coverage and its examples.
WALKS = 9


def rank_needs(work: Work, rates: Rates) -> list[Need]:
    """Of all stages in order."""
    found = [stage(work, rates) for stage in (_encode, _search, _merge)]
    return [*found, *rerank_needs(work, rates), _collate(work, rates), _deliver(work, rates)]


def _encode(work: Work, rates: Rates) -> Need:
    rows = work.block_rows
    return Need(
        "encode",
        work.blocks,
        "model",
        work_s=rows * work.query_tokens / rates.tokens_per_core_s,
        files=2,
        bytes=rows * (work.query_tokens * BYTES_PER_TOKEN + work.dim * 4),
        memory=PROCESS_BYTES + model_memory(work.encoder) + rows * work.dim * 8,
        spec=2 * REF_BYTES,
        flops=forward_flops(work.encoder, rows * (work.query_tokens + SPECIALS)),
        model=work.encoder,
    )


def _search(work: Work, rates: Rates) -> Need:
    """A group of queries after another, for each of which the shard's vectors are read anew. An
    actor keeps the queries of an only group."""
    rows, vectors, hits = work.shard_rows, work.queries * work.dim * 4, work.queries * work.k
    again = vectors if work.groups > 1 else 0
    return Need(
        "search",
        work.shards,
        "search",
        work_s=work.groups * read_parts_s(work, rows, rates) + search_s(work, rates),
        files=work.groups * part_files(work, rows) + 1 + work.blocks * (2 if again else 1),
        bytes=work.groups * rows * work.row_bytes + work.sizes.shard + hits * HIT_BYTES + again,
        memory=PROCESS_BYTES + work.group_bytes + 2 * work.sizes.shard + part_memory(work),
        spec=work.blocks * REF_BYTES + work.shard_parts * PART_SPEC_BYTES,
        loaded=vectors - again,
        gathered=work.shards * work.blocks * REF_MEMORY,
    )


def search_s(work: Work, rates: Rates) -> float:
    """Seconds of a core for all queries in one shard: lists chosen and scanned, hits refined.

    All shards share the codec's lists, and yet each chooses them anew for every query.
    """
    refining = work.queries * work.candidates / rates.refined_pairs_per_core_s
    products = work.queries * work.shard_rows * work.dim
    if work.index.kind == "exact":
        return products / rates.fp32_products_per_core_s + refining
    choosing = work.queries * work.index.nlist * work.dim
    scanning = products * work.nprobe / work.index.nlist
    return (choosing + scanning) / rates.int8_products_per_core_s + refining


def sorted_hits(kept: int, shards: int) -> float:
    """Hits that are put in order while so many are kept of one shard after another.

    Of the n-th shard's, the n-th part is better than what those before it left; as counted, what
    passes is sorted with twice as much that is kept or was sorted before.
    """
    return 3 * kept * math.log(shards)


def _merge(work: Work, rates: Rates) -> Need:
    """Every shard gives a query as many hits as are kept in the end, and few of them pass."""
    kept = work.block_rows * work.k
    hits = work.shards * work.block_rows * min(work.k, work.shard_rows)
    touched = min(work.parts, kept)
    buckets = math.ceil(touched / bucket(work))
    return Need(
        "merge",
        work.blocks,
        "task",
        work_s=hits / rates.read_rows_per_core_s
        + sorted_hits(kept, work.shards) / rates.merged_hits_per_core_s,
        files=work.shards + 1 + buckets,
        bytes=(hits + kept) * HIT_BYTES + kept * PAIR_BYTES,
        memory=PROCESS_BYTES + kept * MERGED_MEMORY,
        spec=work.shards * REF_BYTES,
        gathered=work.blocks * (touched * COUNT_MEMORY + buckets * REF_MEMORY),
    )


def _collate(work: Work, rates: Rates) -> Need:
    """A block reads its scores: of several rerankers the last one's twice, since each one's are
    written by themselves too."""
    steps = work.rerankers if len(work.rerankers) > 1 else ()
    read = [*work.rerankers[-1:], *steps]
    rows, files = work.block_rows * work.k, sum(score_files(work, each) for each in read)
    pairs = sum(work.pairs(each) for each in read) / work.blocks
    written = sum(work.pairs(each) for each in steps) / work.blocks
    return Need(
        "collate",
        work.blocks,
        "task",
        work_s=pairs / rates.read_rows_per_core_s + rows / rates.collated_rows_per_core_s,
        files=files + 3 + len(steps),
        bytes=rows * (HIT_BYTES + RANKING_BYTES) + pairs * SCORE_BYTES + written * RANKING_BYTES,
        memory=PROCESS_BYTES + rows * COLLATED_MEMORY,
        spec=(files + 2) * REF_BYTES,
    )


def _deliver(work: Work, rates: Rates) -> Need:
    """The driver walks the rankings block by block: for TREC lines, for metrics, for the report."""
    rows, block = work.queries * work.k, work.block_rows * work.k
    return Need(
        "deliver",
        1,
        "driver",
        work_s=rows / rates.delivered_rows_per_s + WALKS * rows / rates.read_rows_per_core_s,
        files=WALKS * work.blocks + 2,
        bytes=rows * (WALKS * RANKING_BYTES + TREC_BYTES),
        memory=PROCESS_BYTES + block * DELIVERED_MEMORY,
        spec=0.0,
    )
