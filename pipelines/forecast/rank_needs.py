"""What the stages of the rank flow need, from the way in which they read and write."""

from shardrank.forecast.encode_needs import encodes
from shardrank.forecast.merge_needs import merge_need
from shardrank.forecast.needs import HIT_BYTES, PROCESS_BYTES, REF_BYTES, SCORE_BYTES, Need
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import rerank_needs, score_files
from shardrank.forecast.search_needs import search_needs
from shardrank.forecast.work import Work

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
    found = [*encodes(work, rates), *search_needs(work, rates)]
    found.append(merge_need(work, "merge", work.searched, rates))
    return [*found, *rerank_needs(work, rates), _collate(work, rates), _deliver(work, rates)]


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
