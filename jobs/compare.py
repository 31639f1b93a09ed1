"""shardrank compare: whether one ranking is better than another, and how much alike they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from rich.table import Table

from shardrank import api
from shardrank.api import Compared
from shardrank.core.errors import InputError
from shardrank.core.overlap import P
from shardrank.core.paired import DRAWS, INSIDE, SEED
from shardrank.core.settings import Settings
from shardrank.jobs.console import console, error_console
from shardrank.report.figures import signed, snippet
from shardrank.report.sentences import deeper

#: Queries that are shown of those that the second run raises most, and lowers most.
SHOWN = 5
WRITERS = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}


@dataclass(frozen=True)
class CompareJob:
    """The command's arguments."""

    first: str
    second: str
    qrels: str | None
    to: Path | None


def run(job: CompareJob, settings: Settings) -> None:
    """Print what the comparison says, and write what each query gives."""
    if job.to and job.to.exists():
        raise InputError(f"{job.to} exists already.", "Name another file after --to.")
    if job.to and job.to.suffix not in WRITERS:
        raise InputError(f"{job.to} is no .csv or .parquet.", "Name such a file after --to.")
    with error_console().status("Comparing"):
        compared = api.compare(job.first, job.second, qrels=job.qrels, settings=settings)
    console().print(f"1 is {job.first}, 2 is {job.second}.")
    if compared.metrics:
        console().print(metrics_table(compared))
    for line in said(compared):
        console().print(line)
    for table in differences(compared):
        console().print(table)
    if job.to:
        WRITERS[job.to.suffix](compared.table, job.to)
        console().print(f"Written to {job.to}.")


def metrics_table(compared: Compared) -> Table:
    """A row a metric: both means, their difference with its interval, p, and how many queries."""
    inside = f"{100 * INSIDE:g} % interval"
    table = Table("", "1", "2", "2 − 1", inside, "p", "better", "same", "worse", box=None)
    for each in compared.metrics:
        means = (f"{each.first:.4f}", f"{each.second:.4f}", signed(each.difference, 4))
        between = f"{signed(each.low, 4)} to {signed(each.high, 4)}"
        counts = (f"{number:,}" for number in (each.wins, each.ties, each.losses))
        table.add_row(each.metric, *means, between, f"{each.p:.4f}", *counts)
    return table


def said(compared: Compared) -> list[str]:
    """What was compared, what was left out, and how much alike the rankings are."""
    lines = list(_judged(compared))
    both, first, second = compared.asked
    lines.append(
        f"Overlap of the first 10 documents {compared.overlap[0]:.3f}, rank-biased overlap "
        f"{compared.overlap[1]:.3f} (p = {P:g}), over {compared.ranked:,} queries that both rank."
    )
    if first or second or both > compared.ranked:
        lines.append(
            f"Queries: {both:,} of both, {first:,} of 1 only, {second:,} of 2 only; "
            f"{both - compared.ranked:,} of both without a hit in one."
        )
    return lines


def _judged(compared: Compared) -> Iterator[str]:
    judged = compared.judged
    if not judged:
        return
    yield (
        f"{judged.compared:,} judged queries of both. p: paired randomisation test, two-sided; "
        f"interval: bootstrap of the mean difference; {DRAWS:,} draws each, seed {SEED}."
    )
    yield from deeper([each.metric for each in compared.metrics], compared.k)
    for number, queries in enumerate(judged.hitless, 1):
        if queries:
            yield f"Without a ranking in {number}, where they count as 0: {queries:,} of them."
    if any((*judged.alone, judged.unasked)):
        first, second = judged.alone
        yield (
            f"Judged, and left out: {first:,} of 1 only, {second:,} of 2 only, "
            f"{judged.unasked:,} of neither."
        )


def differences(compared: Compared) -> Iterator[Table]:
    """The queries that the second run lowers and raises most, by the first metric."""
    if not compared.metrics:
        return
    name = compared.metrics[0].metric
    column = compared.table[_difference(name)]
    for title, wanted, order in (
        ("Most lowered", pc.less(column, 0), "ascending"),
        ("Most raised", pc.greater(column, 0), "descending"),
    ):
        found = compared.table.filter(wanted).sort_by([(_difference(name), order)])
        if found.num_rows:
            yield _shown(f"{title}, by {name}", name, found.slice(0, SHOWN))


def _difference(metric: str) -> str:
    """The column's name."""
    return f"{metric} difference"


def _shown(title: str, name: str, rows: pa.Table) -> Table:
    table = Table("query", "", "1", "2", "2 − 1", title=title, title_justify="left", box=None)
    for row in rows.to_pylist():
        both = (f"{row[f'{name} {number}']:.4f}" for number in (1, 2))
        change = signed(row[_difference(name)], 4)
        table.add_row(row["query_id"], snippet(row["text"], 60), *both, change)
    return table
