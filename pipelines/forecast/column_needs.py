"""What the stages need that make a further column: its sample, its fit, and a value a passage."""

import math
from collections.abc import Iterator

from shardrank.core.model_settings import DENSE
from shardrank.forecast.columns import Column
from shardrank.forecast.needs import PROCESS_BYTES, REF_BYTES, REF_MEMORY, Need, Runner
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work
from shardrank.version.sizing import SAMPLED_PARTS_PER_UNIT


def column_needs(work: Work, column: Column, rates: Rates) -> Iterator[Need]:
    """In order: what is fitted, is so before any column is made."""
    if column.sampled:
        yield _draw(work, column, rates)
        yield _fit(work, column, rates)
    yield _embed(work, column, rates)


def read_bytes(work: Work, column: Column) -> float:
    """Of a passage, that the encoder reads: its texts, its value in another column, or both. A
    ranking's work leaves out a column of written texts: no query goes through it."""
    known = {DENSE, *(each.name for each in work.columns)}
    values = work.values_of(column.of) if column.of in known else 0.0
    return values + (work.passage_bytes if column.reads_texts else 0.0)


def _runner(column: Column) -> Runner:
    return "model" if column.takes.passage.model else "task"


def _draw(work: Work, column: Column, rates: Rates) -> Need:
    """A few rows of nearly every part, whose values are read whole."""
    drawn = min(work.parts, column.sampled)
    together = min(drawn, SAMPLED_PARTS_PER_UNIT)
    rows, each = together * work.part_rows, read_bytes(work, column)
    taken = min(rows, column.sampled) * each
    return Need(
        f"draw-{column.name}",
        math.ceil(drawn / SAMPLED_PARTS_PER_UNIT),
        "task",
        work_s=rows * each / rates.part_bytes_per_core_s,
        files=together + 1,
        bytes=rows * each + taken,
        memory=PROCESS_BYTES + 2 * work.part_rows * each + 2 * taken,
        spec=together * REF_BYTES * 2,
    )


def _fit(work: Work, column: Column, rates: Rates) -> Need:
    """One unit, on one core; token vectors are held as float32."""
    takes, sampled = column.takes, min(column.sampled, work.passages)
    files = math.ceil(min(work.parts, sampled) / SAMPLED_PARTS_PER_UNIT)
    held = sampled * (read_bytes(work, column) + takes.held * takes.dim * 4)
    model = takes.fit.model
    return Need(
        f"fit-{column.name}",
        1,
        "model" if model else "task",
        work_s=takes.fit.work_s(rates),
        files=files + 1,
        bytes=sampled * read_bytes(work, column),
        memory=PROCESS_BYTES + (model.memory if model else 0.0) + 2 * held,
        spec=files * REF_BYTES,
        flops=takes.fit.flops,
        model=model,
    )


def _embed(work: Work, column: Column, rates: Rates) -> Need:
    """A unit holds what it reads of a part, and what it makes of it twice."""
    takes, rows, each = column.takes, work.part_rows, read_bytes(work, column)
    model = takes.passage.model
    moved = rows * (each + takes.bytes)
    return Need(
        f"embed-{column.name}",
        work.parts,
        _runner(column),
        work_s=rows * takes.passage.work_s(rates) + moved / rates.part_bytes_per_core_s,
        files=3,
        bytes=moved,
        memory=PROCESS_BYTES + (model.memory if model else 0.0) + 2 * moved,
        spec=2 * REF_BYTES,
        flops=rows * takes.passage.flops,
        model=model,
        gathered=work.parts * 2 * REF_MEMORY,
        steps=3,
    )
