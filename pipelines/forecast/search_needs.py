"""What retrievers need: a search; and of one whose queries are moved, a first round before it.

A first round searches for a few documents, merges them, gathers their values by one sweep over the
parts, and moves the queries. A guide's documents are merged with its own.
"""

from collections.abc import Iterator
from dataclasses import replace

from shardrank.core.model_settings import DENSE
from shardrank.forecast.built_needs import shard_bytes
from shardrank.forecast.columns import Column
from shardrank.forecast.merge_needs import merge_need
from shardrank.forecast.needs import (
    HIT_BYTES,
    PART_SPEC_BYTES,
    PROCESS_BYTES,
    REF_BYTES,
    REF_MEMORY,
    Need,
    part_files,
    part_memory,
    read_parts_s,
)
from shardrank.forecast.rates import Rates
from shardrank.forecast.rerank_needs import Runs, sweep
from shardrank.forecast.search_speed import search_s
from shardrank.forecast.work import FirstRound, Searching, Work

#: Bytes of a number in memory, and what a vector is held as more often than once.
_NUMBER, _HELD = 4, 3


def search_needs(work: Work, rates: Rates) -> Iterator[Need]:
    """Of all retrievers; those that another guides come behind it. Parts of queries are asked as
    queries are."""
    asking = work.asking
    for each in sorted(work.searched, key=lambda each: bool(each.first and each.first.guide)):
        if each.first:
            yield from _first_round(asking, each, each.first, rates)
        yield _search(asking, each, rates, "search")


def _search(work: Work, search: Searching, rates: Rates, stage: str) -> Need:
    """A group of queries after another, for each of which the shard's vectors are read anew. An
    actor keeps the queries of an only group."""
    column = None if search.column == DENSE else work.column(search.column)
    over = work.over_searched(search)
    asked = over.dim if column is None else int(column.takes.asked * max(2, column.takes.dim))
    shard = over.sizes.shard if column is None else shard_bytes(over, column)
    rows, vectors, hits = over.shard_rows, work.queries * asked * 4, work.queries * over.k
    again = vectors if over.groups > 1 else 0
    return Need(
        search.of(stage),
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


def _first_round(work: Work, search: Searching, first: FirstRound, rates: Rates) -> Iterator[Need]:
    """Its documents, and as many of a guide, are gathered once for each query."""
    depth = max(search.depth, first.documents) if search.depth else 0
    few = replace(search, k=first.documents, depth=depth)
    yield _search(work, few, rates, "first")
    guides = [each for each in work.searched if each.called == first.guide]
    gathered = replace(work, k=first.documents * (1 + len(guides)))
    merging = search.of("pool" if guides else "first_merge")
    yield merge_need(gathered, merging, [few, *guides], rates)
    yield _values(gathered, search, rates)
    yield _moved(gathered, search, first, rates)


def _values(work: Work, search: Searching, rates: Rates) -> Need:
    """A part's values are held as they are stored, and those of the pairs are written by blocks."""
    pairs, stored = work.queries * work.k, _stored(work, search)
    runs, blocks = Runs.of(work, pairs), min(work.blocks, work.queries * work.k)
    swept = sweep(work, pairs, rates, stored)
    written = runs.pairs * stored
    return replace(
        swept,
        stage=search.of("values"),
        work_s=swept.work_s + written / rates.part_bytes_per_core_s,
        files=swept.files + blocks,
        bytes=swept.bytes + written,
        memory=swept.memory + work.part_rows * stored + 2 * written,
        gathered=runs.units * blocks * REF_MEMORY,
    )


def _moved(work: Work, search: Searching, first: FirstRound, rates: Rates) -> Need:
    """A block's queries by the values of their documents: a mean of these, or steps of a descent,
    each of which goes through them twice."""
    rows, runs = work.block_rows, Runs.of(work, work.queries * work.k)
    numbers, stored = _numbers(work, search), rows * work.k * _stored(work, search)
    files = min(runs.units, rows * work.k)
    asked = rows * numbers * _NUMBER
    descent = 2 * (first.steps + 1) * rows * work.k * numbers if first.guide else 0.0
    return Need(
        search.of("guided" if first.guide else "feedback"),
        work.blocks,
        "task",
        work_s=rows * work.k * numbers / rates.scattered_numbers_per_core_s
        + descent / rates.guided_products_per_core_s
        + stored / rates.part_bytes_per_core_s,
        files=files + (4 if first.guide else 2),
        bytes=stored + 2 * asked,
        memory=PROCESS_BYTES + _HELD * rows * (work.k + 1) * numbers * _NUMBER,
        spec=(files + 3) * REF_BYTES,
        gathered=work.blocks * REF_MEMORY,
    )


def _scored(work: Work, search: Searching) -> Column | None:
    """The column by whose values hits are scored: of codes, what they are of; none: the first."""
    column = None if search.column == DENSE else work.column(search.column)
    if column and column.plan and column.plan.kind == "binary":
        return None if column.of == DENSE else work.column(column.of)
    return column


def _stored(work: Work, search: Searching) -> float:
    """Bytes of a passage's value."""
    column = _scored(work, search)
    return column.takes.bytes if column else work.value_bytes


def _numbers(work: Work, search: Searching) -> float:
    """Of a passage's value; a term has two."""
    column = _scored(work, search)
    return column.takes.held * max(2, column.takes.dim) if column else float(work.dim)
