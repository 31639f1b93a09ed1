"""shardrank status --prometheus: what must be watched between runs, from the files alone.

A nightly job's driver is gone when it has ended, and its metrics with it; what it left on storage
is not. The output is Prometheus' text format, for node_exporter's textfile collector or a
Pushgateway.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from shardrank.jobs.console import console
from shardrank.stages.run.records import RunRecord, Success, last_successes, newest_runs
from shardrank.stages.run.workspace import open_workspace
from shardrank.stages.shared.versions import Published, latest_version

#: Records that are read, at most, to find each flow's last run.
READ_AT_MOST = 16

#: What each metric says; all are gauges, labelled with the path.
HELP = {
    "shardrank_status_timestamp_seconds": "When this was written.",
    "shardrank_version": "Number of the latest version.",
    "shardrank_version_published_timestamp_seconds": "When it was published.",
    "shardrank_version_documents": "Documents in it.",
    "shardrank_version_passages": "Passages in it.",
    "shardrank_version_rows": "Rows of the corpus that it was made from.",
    "shardrank_version_rejected_rows": "Those of them that were set aside.",
    "shardrank_version_recall_ratio": "What its audit found, by column.",
    "shardrank_version_recall_target_ratio": "What the audit had to find.",
    "shardrank_run_began_timestamp_seconds": "When the flow's last run began.",
    "shardrank_run_told_timestamp_seconds": "When it last wrote its record.",
    "shardrank_run_ending": "1 for how it ended, or for running or cut off.",
    "shardrank_run_exit_code": "Of it; absent while it runs.",
    "shardrank_run_rejected_rows": "Rows that it set aside; absent while it runs.",
    "shardrank_run_recall_ratio": "What its audit found, published or refused, by column.",
    "shardrank_run_units": "Units of its stages so far, by state.",
    "shardrank_run_stage_progress_ratio": "How far its stage is.",
    "shardrank_run_stage_left_seconds": "Time left of its stage, once there is a guess.",
    "shardrank_run_succeeded_timestamp_seconds": "When the flow last ended well.",
}


@dataclass(frozen=True)
class Sample:
    """One line: a metric's name, its value, and its labels beside the path."""

    name: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


def run(path: str, settings: Settings) -> None:
    """Print what is known of PATH."""
    workspace, now = open_workspace(path, settings), time.time()
    latest, runs = latest_version(workspace), newest_runs(workspace, READ_AT_MOST)
    if latest is None and not runs:
        raise InputError(f"{path} holds no run.", "Give an INDEX or an OUT.")
    samples = [Sample("shardrank_status_timestamp_seconds", now), *_of_version(latest)]
    samples += [sample for last in _last_of_each_flow(runs) for sample in _of_run(last, now)]
    samples += [_succeeded(each) for each in last_successes(workspace)]
    console().print("\n".join(text(samples, workspace.storage.root)))


def text(samples: list[Sample], path: str) -> Iterator[str]:
    """The lines: those of one metric stand together, under what it says."""
    for name, says in HELP.items():
        mine = [sample for sample in samples if sample.name == name]
        if mine:
            yield from (f"# HELP {name} {says}", f"# TYPE {name} gauge")
        yield from (_line(sample, path) for sample in mine)


def _line(sample: Sample, path: str) -> str:
    labels = ",".join(f'{n}="{_quoted(v)}"' for n, v in {"path": path, **sample.labels}.items())
    return f"{sample.name}{{{labels}}} {sample.value:.16g}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _of_version(latest: Published | None) -> Iterator[Sample]:
    if latest is None:
        return
    version = latest.version
    yield Sample("shardrank_version", latest.number)
    yield Sample("shardrank_version_published_timestamp_seconds", version.made.time)
    yield Sample("shardrank_version_documents", version.live.documents)
    yield Sample("shardrank_version_passages", version.live.passages)
    yield Sample("shardrank_version_rows", version.changes.rows)
    yield Sample("shardrank_version_rejected_rows", version.changes.rejected)
    for name, index in version.indexes.items():
        yield Sample("shardrank_version_recall_ratio", index.audit.recall, {"column": name})
        target = index.audit.target
        yield Sample("shardrank_version_recall_target_ratio", target, {"column": name})


def _last_of_each_flow(newest_first: list[RunRecord]) -> list[RunRecord]:
    return list({record.flow: record for record in reversed(newest_first)}.values())


def _succeeded(success: Success) -> Sample:
    flow = {"flow": success.flow}
    return Sample("shardrank_run_succeeded_timestamp_seconds", success.time, flow)


def _of_run(last: RunRecord, now: float) -> Iterator[Sample]:
    flow = {"flow": last.flow}
    yield Sample("shardrank_run_began_timestamp_seconds", last.began, flow)
    yield Sample("shardrank_run_told_timestamp_seconds", last.beat, flow)
    yield Sample("shardrank_run_ending", 1, {**flow, "ending": last.ending(now)})
    if last.outcome is not None:
        yield Sample("shardrank_run_exit_code", last.outcome.exit_code, flow)
        if "rejected" in last.outcome.counts:
            yield Sample("shardrank_run_rejected_rows", last.outcome.counts["rejected"], flow)
        for column, recall in last.outcome.recall.items():
            yield Sample("shardrank_run_recall_ratio", recall, {**flow, "column": column})
    yield from _of_stages(last)


def _of_stages(run: RunRecord) -> Iterator[Sample]:
    for state in ("units", "done", "resumed", "failed"):
        count = sum(getattr(stage, state) for stage in run.stages)
        yield Sample("shardrank_run_units", count, {"flow": run.flow, "state": state})
    if run.outcome is not None or not run.stages:
        return
    stage = run.stages[-1]
    labels = {"flow": run.flow, "stage": stage.stage}
    share = (stage.done + stage.share) / max(1, stage.units)
    yield Sample("shardrank_run_stage_progress_ratio", share, labels)
    if stage.left is not None:
        yield Sample("shardrank_run_stage_left_seconds", stage.left, labels)
