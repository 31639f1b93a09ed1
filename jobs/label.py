"""shardrank label: training labels for a student, from a ranked run."""

import sys
from dataclasses import dataclass

from shardrank.core.settings import Settings
from shardrank.flows.label import Labelled, LabelPlan, label, plan_labelling
from shardrank.jobs.console import ConsoleReporter, console
from shardrank.stages.label.deliver_labels import (
    LabelledRun,
    LabelManifest,
    claim_labels,
    deliver_labels,
)
from shardrank.stages.run.executors import opened
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import open_workspace, refuse_same


@dataclass(frozen=True)
class LabelJob:
    """The command's arguments."""

    out: str
    labels: str
    format: str
    qrels: str | None = None
    index: str | None = None
    overwrite: bool = False


def run(job: LabelJob, settings: Settings, verbose: bool) -> None:
    """Make labels of one format from OUT into LABELS and print what came of it."""
    refuse_same(job.out, "OUT", job.labels, "LABELS")
    out = open_workspace(job.out, settings)
    plan = plan_labelling(out, job.format, job.qrels, job.index, settings)
    refuse_same(plan.ranked.index.storage.root, "INDEX", job.labels, "LABELS")
    workspace = open_workspace(job.labels, settings)
    with (
        workspace.storage.lock("runs/lock"),
        opened(settings.cluster, plan.amount, verbose, "shardrank.report.labels") as executor,
        ConsoleReporter() as reporter,
    ):
        context = Context(workspace, plan.run, settings, executor, reporter)
        context.refuse_impossible()
        claim_labels(workspace, about(plan), plan.form, plan.run, job.overwrite)
        labelled = label(context, plan)
        manifest = deliver_labels(context, plan.form, labelled.scored, labelled.exported)
        command = " ".join(["shardrank", *sys.argv[1:]])
        from shardrank.flows.label_report import write_label_report  # matplotlib; see `meanwhile`

        write_label_report(context, plan, labelled, command)
    for line in (*summary(job, manifest), *judged_lines(plan, labelled)):
        console().print(line)


def about(plan: LabelPlan) -> LabelledRun:
    """What LABELS/manifest.json says: whose scores these are."""
    return LabelledRun(
        run=plan.base,
        ranking=plan.ranked.run.run,
        index_version=plan.ranked.run.index_version,
        judgements=len(plan.judgements),
        teachers={t.name: t.card.fingerprint if t.card else None for t in plan.teachers},
    )


def summary(job: LabelJob, manifest: LabelManifest) -> list[str]:
    """What there is, and what was left out, in a few lines."""
    counts = manifest.counts
    aside = " + ".join(f"{n:,} ({why})" for why, n in counts.set_aside.items())
    pairs = " + ".join(f"{n:,} {fate}" for fate, n in counts.pairs.items())
    lines = [
        f"{counts.rows:,} rows of {job.format} in {job.labels}/{job.format}.",
        f"  queries    {counts.queries:,} = {counts.used:,} used{' + ' if aside else ''}{aside}",
        f"  candidates {counts.candidates:,} = {counts.usable:,} usable"
        f" + {counts.not_finite:,} without a finite score"
        f" + {counts.itself:,} the query itself; {counts.truncated:,} truncated",
        f"  suspects   {counts.suspects:,} unjudged above their query's positive",
        f"  loss       {manifest.loss}",
        f"Report: {job.labels}/{job.format}/report.html",
    ]
    if pairs:
        lines.insert(2, f"  pairs      {sum(counts.pairs.values()):,} = {pairs}")
    return lines


def judged_lines(plan: LabelPlan, labelled: Labelled) -> list[str]:
    """Judgements that say nothing here, where there are any."""
    told = {
        "queries were not ranked": plan.unranked,
        "documents are not in the index": labelled.absent,
    }
    lacking = [f"{count:,} judged {what}" for what, count in told.items() if count]
    return [f"  judgements {' and '.join(lacking)}: left out"] if lacking else []
