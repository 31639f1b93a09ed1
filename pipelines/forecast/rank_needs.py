"""What the stages of the rank flow need, from the way in which they read and write."""

import math
from collections.abc import Iterator
from dataclasses import replace

from shardrank.core.model_settings import DENSE
from shardrank.forecast.built_needs import shard_bytes
from shardrank.forecast.encode_needs import first_encode, further_encodes
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
    Need,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import bucket, rerank_needs, score_files
from shardrank.forecast.search_speed import search_s
from shardrank.forecast.work import Searching, Work

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
    asked = [first_encode(work, rates), *further_encodes(work, rates)]
    searches = [_search(work, each, rates) for each in work.searched]
    found = [*asked, *searches, _merge(work, rates)]
    return [*found, *rerank_needs(work, rates), _collate(work, rates), _deliver(work, rates)]


def _search(work: Work, search: Searching, rates: Rates) -> Need:
    """A group of queries after another, for each of which the shard's vectors are read anew. An
    actor keeps the queries of an only group."""
    column = None if search.column == DENSE else work.column(search.column)
    over = replace(work, k=search.k) if column is None else work.over(column, search)
    asked = over.dim if column is None else int(column.takes.asked * max(2, column.takes.dim))
    shard = over.sizes.shard if column is None else shard_bytes(over, column)
    rows, vectors, hits = over.shard_rows, work.queries * asked * 4, work.queries * over.k
    again = vectors if over.groups > 1 else 0
    return Need(
        "search" if column is None else f"search-{column.name}",
        over.shards,
        "search",
        work_s=over.groups * read_parts_s(over, rows, rates) + search_s(over, column, rates),
        files=over.groups * part_files(over, rows) + 1 + over.blocks * (2 if again else 1),
        bytes=over.groups * rows * over.vector_row_bytes + shard + hits * HIT_BYTES + again,
        memory=PROCESS_BYTES + over.group_bytes + 2 * shard + part_memory(over),
        spec=over.blocks * REF_BYTES + over.shard_parts * PART_SPEC_BYTES,
        loaded=vectors - again,
        gathered=over.shards * over.blocks * REF_MEMORY,
    )


def sorted_hits(kept: int, shards: int) -> float:
    """Hits that are put in order while so many are kept of one shard after another.

    Of the n-th shard's, the n-th part is better than what those before it left; as counted, what
    passes is sorted with twice as much that is kept or was sorted before.
    """
    return 3 * kept * math.log(shards)


def _merge(work: Work, rates: Rates) -> Need:
    """Every shard of a retriever gives a query as many hits as are kept of it in the end, and few
    of them pass; several retrievers' lists are fused, and kept beside."""
    kept = work.block_rows * work.k
    pieces = [_pieces(work, search) for search in work.searched]
    files, hits = sum(shards for shards, _ in pieces), sum(found for _, found in pieces)
    ordered = sum(sorted_hits(work.block_rows * each.k, n) for each, (n, _) in _both(work, pieces))
    several = len(pieces) > 1
    fused = sum(work.block_rows * each.k for each in work.searched) if several else 0
    touched = min(work.parts, kept)
    buckets = math.ceil(touched / bucket(work))
    return Need(
        "merge",
        work.blocks,
        "task",
        work_s=(hits + fused) / rates.read_rows_per_core_s
        + ordered / rates.merged_hits_per_core_s
        + fused / rates.fused_hits_per_core_s,
        files=files + 1 + buckets + (len(pieces) if several else 0),
        bytes=(hits + kept + fused) * HIT_BYTES + kept * PAIR_BYTES,
        memory=PROCESS_BYTES + (kept + fused) * MERGED_MEMORY,
        spec=files * REF_BYTES,
        gathered=work.blocks * (touched * COUNT_MEMORY + buckets * REF_MEMORY),
    )


def _pieces(work: Work, search: Searching) -> tuple[int, int]:
    """The shards that a retriever searches, and the hits of a block in all of them."""
    over = work if search.column == DENSE else work.over(work.column(search.column))
    return over.shards, over.shards * work.block_rows * min(search.k, over.shard_rows)


def _both(work: Work, pieces: list[tuple[int, int]]) -> Iterator[tuple[Searching, tuple[int, int]]]:
    return zip(work.searched, pieces, strict=True)


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
