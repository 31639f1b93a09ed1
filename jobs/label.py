"""shardrank label: training labels for a student, from a ranked run."""

from dataclasses import dataclass

from shardrank import api
from shardrank.api import Labelled
from shardrank.core.settings import Settings
from shardrank.jobs.console import command_line, reporter_of


@dataclass(frozen=True)
class LabelJob:
    """The command's arguments."""

    out: str
    labels: str
    format: str
    qrels: str | None = None
    index: str | None = None
    overwrite: bool = False
    wait: bool = False


def run(job: LabelJob, settings: Settings, verbose: bool) -> None:
    """Make labels of one format from OUT into LABELS and print what came of it."""
    with reporter_of(settings) as reporter:
        labelled = api.label(
            job.out,
            job.labels,
            format=job.format,
            qrels=job.qrels,
            index=job.index,
            overwrite=job.overwrite,
            settings=settings,
            reporter=reporter,
            wait=job.wait,
            verbose=verbose,
            command=command_line(),
        )
    reporter.close([*summary(job, labelled), *judged_lines(labelled)])


def summary(job: LabelJob, labelled: Labelled) -> list[str]:
    """What there is, and what was left out, in a few lines."""
    counts = labelled.counts
    aside = " + ".join(f"{n:,} ({why})" for why, n in counts.set_aside.items())
    pairs = " + ".join(f"{n:,} {fate}" for fate, n in counts.pairs.items())
    lines = [
        f"{counts.rows:,} rows of {job.format} in {job.labels}/{job.format}.",
        f"  queries    {counts.queries:,} = {counts.used:,} used{' + ' if aside else ''}{aside}",
        f"  candidates {counts.candidates:,} = {counts.usable:,} usable"
        f" + {counts.not_finite:,} without a finite score"
        f" + {counts.itself:,} the query itself; {counts.truncated:,} truncated",
        f"  suspects   {counts.suspects:,} unjudged above their query's positive",
        f"  loss       {labelled.manifest.loss}",
        f"Report: {job.labels}/about/{job.format}/report.html",
    ]
    if pairs:
        lines.insert(2, f"  pairs      {sum(counts.pairs.values()):,} = {pairs}")
    return lines


def judged_lines(labelled: Labelled) -> list[str]:
    """Judgements that say nothing here, where there are any."""
    told = {
        "queries were not ranked": labelled.unranked,
        "documents are not in the index": labelled.absent,
    }
    lacking = [f"{count:,} judged {what}" for what, count in told.items() if count]
    return [f"  judgements {' and '.join(lacking)}: left out"] if lacking else []
