"""What `status` says of a run, by its record."""

from dataclasses import replace

import pytest

from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.jobs.status import about
from shardrank.stages.run.records import RunRecord

BEGAN = 1_796_000_000.0
RUN = RunRecord(
    "abc", "index", "shardrank index c /i", "ann@host", "night-1", BEGAN, beat=BEGAN + 60
)
STAGE = StageNow("embed", 8, 2, 5, 1.0, 900, 0, "", BEGAN + 10, 50.0, 200.0, False)


def said(record: RunRecord, after: float = 5.0) -> list[str]:
    """So many seconds after it was written."""
    return about(record, record.beat + after)


def test_which_run_it_is() -> None:
    first, command, _ = said(RUN)
    assert first == "Run abc of index, begun 2026-11-30 00:53:20 UTC by ann@host, job night-1:"
    assert command == "  shardrank index c /i"
    assert ", job" not in said(replace(RUN, job=None))[0]


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (RUN, "runs."),
        (
            replace(RUN, waits="Starting Ray …"),
            "runs. Starting Ray …",
        ),
        (replace(RUN, stages=(STAGE,)), "runs, in embed, 75%; 3.3 min left of this stage."),
        (replace(RUN, stages=(replace(STAGE, left=None),)), "runs, in embed, 75%."),
    ],
)
def test_a_run_underway(record: RunRecord, state: str) -> None:
    assert said(record)[2:] == [f"  {state}"]


def test_a_run_that_was_cut_off() -> None:
    told = "cut off: no sign of life for 10 min. The same command goes on where it ended."
    assert said(replace(RUN, stages=(STAGE,)), after=600)[2:] == [f"  {told}"]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (
            Outcome("published", 0, "Version 000003 published."),
            "published 2026-11-30 00:54:20 UTC, exit code 0. Version 000003 published.",
        ),
        (
            Outcome("refused", 3, "The audit found Recall@100 0.9."),
            "refused 2026-11-30 00:54:20 UTC, exit code 3. The audit found Recall@100 0.9.",
        ),
        (Outcome("done", 0, ""), "done 2026-11-30 00:54:20 UTC, exit code 0."),
    ],
)
def test_a_run_that_has_ended(outcome: Outcome, state: str) -> None:
    """However long ago that is."""
    assert said(replace(RUN, outcome=outcome), after=9999)[2:] == [f"  {state}"]


def test_units_that_failed() -> None:
    stages = (
        replace(STAGE, failed=1200, trouble="a worker was lost"),
        replace(STAGE, stage="scan"),
    )
    failed = replace(RUN, stages=stages, outcome=Outcome("failed", 1, "Units failed."))
    assert said(failed)[3:] == ["  1,200 units of embed failed: a worker was lost"]
