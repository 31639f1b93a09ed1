"""What the stages need that make queries' values by each encoder."""

from collections.abc import Iterator

from shardrank.forecast.columns import Column
from shardrank.forecast.model import SPECIALS
from shardrank.forecast.needs import PROCESS_BYTES, REF_BYTES, Need
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.version.sizing import BYTES_PER_TOKEN


def first_encode(work: Work, rates: Rates) -> Need:
    """Of encode: a block of queries by the first encoder."""
    rows = work.block_rows
    return Need(
        "encode",
        work.blocks,
        "model",
        work_s=rows * work.query_tokens / rates.tokens_per_core_s
        + work.encoder.looked_up * rows * work.query_tokens / rates.scattered_numbers_per_core_s,
        files=2,
        bytes=rows * (work.query_tokens * BYTES_PER_TOKEN + work.dim * 4),
        memory=PROCESS_BYTES + work.encoder.memory + rows * work.dim * 8,
        spec=2 * REF_BYTES,
        flops=work.encoder.flops(work.query_tokens + SPECIALS, rows),
        model=work.encoder,
    )


def further_encodes(work: Work, rates: Rates) -> Iterator[Need]:
    """A block of queries by each further encoder of a column that is searched, or that such a
    column is made of. A reranker's column that is not searched is encoded by the reranker."""
    wanted = {search.column for search in work.searched}
    for column in reversed(work.columns):
        if column.name in wanted and not column.reads_texts:
            wanted.add(column.of)
    for column in work.columns:
        if column.name in wanted:
            yield encode_need(work, column, rates)


def encode_need(work: Work, column: Column, rates: Rates) -> Need:
    """Of encode-NAME."""
    rows, takes = work.block_rows, column.takes
    made = rows * takes.asked * max(2, takes.dim) * 4
    read = rows * (work.query_tokens * BYTES_PER_TOKEN)
    model = takes.query.model
    return Need(
        f"encode-{column.name}",
        work.blocks,
        "model" if takes.passage.model else "task",
        work_s=rows * takes.query.work_s(rates),
        files=3,
        bytes=read + made,
        memory=PROCESS_BYTES + (model.memory if model else 0.0) + 2 * made,
        spec=3 * REF_BYTES,
        flops=rows * takes.query.flops,
        model=model,
    )
