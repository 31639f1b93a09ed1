"""What the stages of the rank flow need, from the way in which they read and write."""

import math
from dataclasses import dataclass

from shardrank.forecast.needs import (
    PART_SPEC_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    SPECIALS,
    Need,
    forward_flops,
    model_memory,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.version.sizing import BYTES_PER_TOKEN, bucket_parts, pairs_per_unit

#: Stored bytes of a hit with a random id, of its place alone, of a reranker's score, of a ranking,
#: of its TREC line.
HIT_BYTES = 14
PAIR_BYTES = 6
SCORE_BYTES = 8
RANKING_BYTES = 18
TREC_BYTES = 60

#: Bytes in memory of each row while it is worked on, measured at 819,200 pairs, at 409,600 hits
#: that are kept of 8 shards' (one shard is read after another), at two million that are put in
#: order at once, and at 200,000 rankings.
PAIR_MEMORY = 200
MERGED_MEMORY = 220
COLLATED_MEMORY = 500
DELIVERED_MEMORY = 360

#: How often the rankings are read once they are there: a run, metrics, and the report's two
#: histograms of two walks each, its coverage and its examples.
WALKS = 9

#: Bytes in the driver of the count of one part's pairs, which each block's marker holds.
COUNT_MEMORY = 130

#: Tokens that a reranker adds to a pair.
PAIR_SPECIALS = 3


def rank_needs(work: Work, rates: Rates) -> list[Need]:
    """Of all stages in order."""
    reranking = (_rerank,) if work.reranker else ()
    stages = (_encode, _search, _merge, *reranking, _collate, _deliver)
    return [stage(work, rates) for stage in stages]


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
    buckets = math.ceil(touched / _bucket(work))
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


@dataclass(frozen=True)
class Runs:
    """The units of reranking: how many, and the parts and pairs of one.

    Pairs are taken to lie evenly over the parts.
    """

    units: int
    parts: int
    pairs: float

    @classmethod
    def of(cls, work: Work) -> "Runs":
        if not work.pairs:
            return cls(0, 0, 0.0)
        hits = work.queries * work.k
        touched = min(work.parts, hits)
        parts = min(touched, math.ceil(pairs_per_unit(work.pairs) * touched / work.pairs))
        return cls(math.ceil(touched / parts), parts, work.pairs * parts / touched)


def _bucket(work: Work) -> int:
    """Parts whose hits share a file."""
    return bucket_parts(work.parts, work.block_rows * work.k)


def _rerank(work: Work, rates: Rates) -> Need:
    """A run of parts looks for its pairs in its buckets' files of every block, which its spec
    names, and writes a file for each."""
    assert work.reranker is not None
    runs, bucket = Runs.of(work), _bucket(work)
    buckets = math.ceil(runs.parts / bucket)
    hits = work.queries * work.k * min(1, buckets * bucket / work.parts)
    blocks = min(work.blocks, runs.pairs)
    tokens = work.query_tokens + work.passage_tokens + PAIR_SPECIALS
    passages = runs.parts * work.part_rows * work.passage_bytes
    return Need(
        "rerank",
        runs.units,
        "model",
        work_s=hits / rates.read_rows_per_core_s + passages / rates.part_bytes_per_core_s,
        files=blocks * (buckets + 2) + runs.parts,
        bytes=hits * PAIR_BYTES + passages,
        memory=PROCESS_BYTES
        + model_memory(work.reranker)
        + max(runs.pairs, work.block_rows * work.k) * PAIR_MEMORY,
        spec=(blocks * (1 + buckets) + runs.parts) * REF_BYTES,
        flops=forward_flops(work.reranker, runs.pairs * tokens),
        model=work.reranker,
        gathered=runs.units * blocks * REF_MEMORY,
        steps=3,
    )


def _collate(work: Work, rates: Rates) -> Need:
    """A block reads its scores, a file of every run of parts with pairs of it."""
    rows, runs = work.block_rows * work.k, Runs.of(work).units
    pairs = work.pairs / work.blocks
    return Need(
        "collate",
        work.blocks,
        "task",
        work_s=pairs / rates.read_rows_per_core_s + rows / rates.collated_rows_per_core_s,
        files=runs + 3,
        bytes=rows * (HIT_BYTES + RANKING_BYTES) + pairs * SCORE_BYTES,
        memory=PROCESS_BYTES + rows * COLLATED_MEMORY,
        spec=(runs + 2) * REF_BYTES,
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
