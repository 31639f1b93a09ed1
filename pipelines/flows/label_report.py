"""From what a label run left on storage to LABELS/about/FORMAT/report.html."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.arrays import Bool, Float32
from shardrank.core.times import clock
from shardrank.core.units import Done
from shardrank.flows.label_plan import LabelledBatch, LabelPlan
from shardrank.labels.formats import Format
from shardrank.report.data import Histogram, StageTime, edges_over
from shardrank.report.figures import snippet
from shardrank.report.labels import LabelReportData, Suspect, render_labels
from shardrank.stages.label.deliver_labels import counts
from shardrank.stages.label.export import Exported
from shardrank.stages.label.score import ScoredBlock
from shardrank.stages.run.records import stage_runs
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace

#: Suspected false negatives shown on the page.
SUSPECTS = 20


def write_label_report(context: Context, plan: LabelPlan, labelled: LabelledBatch) -> None:
    """Write the page beside the manifest."""
    data = label_report_data(context, plan, labelled)
    key = f"{plan.form.about}/report.html"
    context.workspace.storage.write(key, render_labels(data).encode("utf-8"))


def label_report_data(
    context: Context, plan: LabelPlan, labelled: LabelledBatch
) -> LabelReportData:
    """All that the page shows. Files are read one at a time."""
    workspace, found = context.workspace, counts(labelled.scored, labelled.exported)
    positives, others = _score_histograms(context, labelled.scored)
    return LabelReportData(
        title=f"shardrank labels: {plan.form.name}",
        created=f"{clock(time.time())} UTC",
        command=context.command,
        rows=found.rows,
        facts=_facts(plan, labelled),
        settings={
            f"label.{name}": str(value)
            for name, value in context.settings.label.deciding().items()
            if value is not None
        },
        queries={"used": found.used, **found.set_aside},
        candidates={
            "usable": found.usable,
            "without a finite score": found.not_finite,
            "the query itself": found.itself,
        },
        pairs=found.pairs,
        stages=tuple(_stages(workspace, context.run)),
        positives=positives,
        others=others,
        margins=_margins(workspace, plan.form, labelled.exported),
        suspects=tuple(_suspects(workspace, labelled.exported)),
        suspects_in_all=found.suspects,
    )


def _facts(plan: LabelPlan, labelled: LabelledBatch) -> dict[str, str]:
    teachers = [f"{t.name} ({t.card.name})" if t.card else t.name for t in plan.teachers]
    return {
        "format": plan.form.name,
        "loss": plan.form.loss,
        "source": plan.form.source,
        "teachers": ", ".join(teachers),
        "ranked run": f"{plan.ranked.out.storage.root} ({plan.ranked.run.run})",
        "index version": f"{plan.ranked.run.index_version:06d}",
        "judgements": f"{len(plan.judgements):,}; {plan.unranked:,} judged queries were not "
        f"ranked, {labelled.absent:,} judged documents are not in the index",
    }


def _stages(workspace: Workspace, run: str) -> list[StageTime]:
    return [
        StageTime(
            "label", each.stage, len(each.units), each.resumed, each.rows, each.seconds or 0.0
        )
        for each in stage_runs(workspace, run)
    ]


def _score_histograms(
    context: Context, scored: Sequence[Done[ScoredBlock]]
) -> tuple[Histogram | None, Histogram | None]:
    """Of judged positives, and of all other candidates."""
    least = context.settings.label.min_grade

    def parts() -> Iterator[tuple[Float32, Bool]]:
        for done in scored:
            table = context.workspace.read_table(done.made.scores, ["grade", "score"])
            table = table.filter(pc.is_valid(table["score"]))
            grade = pc.fill_null(table["grade"], 0).to_numpy()
            yield table["score"].to_numpy(), grade >= least

    edges = edges_over(values for values, _ in parts())
    if edges is None or not any(positive.any() for _, positive in parts()):
        return None, None
    return (
        Histogram.over((values[positive] for values, positive in parts()), edges),
        Histogram.over((values[~positive] for values, positive in parts()), edges),
    )


def _margins(
    workspace: Workspace, form: Format, exported: Sequence[Done[Exported]]
) -> Histogram | None:
    """Of each row's first passage over its others, where rows are pairs or lists of that kind."""
    if not form.judged:
        return None

    def parts() -> Iterator[Float32]:
        for done in exported:
            lists = workspace.read_table(done.made.ids, ["score"])["score"].combine_chunks()
            offsets, values = lists.offsets.to_numpy(), lists.values.to_numpy()
            first = np.repeat(values[offsets[:-1]], np.diff(offsets))
            others = np.ones(len(values), np.bool_)
            others[offsets[:-1]] = False
            yield (first - values)[others]

    edges = edges_over(parts())
    return Histogram.over(parts(), edges) if edges else None


def _suspects(workspace: Workspace, exported: Sequence[Done[Exported]]) -> list[Suspect]:
    """The first of each query: many of one query mostly tell of its positive."""
    tables = [workspace.read_table(done.made.suspects) for done in exported]
    order = [("above", "descending"), ("query_id", "ascending"), ("doc_id", "ascending")]
    first: dict[str, dict[str, Any]] = {}
    for row in pa.concat_tables(tables).sort_by(order).to_pylist():
        first.setdefault(row["query_id"], row)
    return [
        Suspect(row["query"], row["doc_id"], snippet(row["text"]), row["score"], row["above"])
        for row in list(first.values())[:SUSPECTS]
    ]
