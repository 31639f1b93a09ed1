"""What `shardrank plan index` says of each column beside the first: what it is, and its bytes."""

import math
from collections.abc import Iterator

from shardrank.forecast.built_needs import shard_bytes
from shardrank.forecast.columns import Column, stored_bytes
from shardrank.forecast.work import Work
from shardrank.report.figures import size


def column_lines(work: Work, total: int) -> list[str]:
    """Of each in order, over `total` passages in all."""
    return [", ".join(_line(work, column, total)) for column in work.columns]


def _line(work: Work, column: Column, total: int) -> Iterator[str]:
    takes = column.takes
    made = f" of {column.of}" if column.of else ""
    bytes_ = stored_bytes(takes.bytes, total, math.ceil(total / work.part_rows))
    yield f"{column.name}: {column.family}{made}, {size(bytes_)} (about {_each(takes.bytes)})"
    if takes.dim and takes.held != 1:
        kind = "vectors" if column.family == "views" else "token vectors"
        yield f"about {takes.held:,.0f} {kind} of {takes.dim} components a passage"
    if column.family == "written":
        yield f"about {takes.written:,.0f} tokens written a passage"
    if column.sampled:
        yield f"fitted on {column.sampled:,} passages"
    yield _index(work, column)


def _each(bytes_: float) -> str:
    return f"{bytes_:,.0f} bytes a passage"


def _index(work: Work, column: Column) -> str:
    if column.plan is None:
        return "no index"
    over = work.over(column)
    shard = shard_bytes(over, column)
    return f"index {column.plan.kind}, " + (
        f"{over.shards:,} shards of {size(shard)}" if shard else "no shard files"
    )
