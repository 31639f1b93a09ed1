"""What `status --prometheus` prints, from the records that runs leave."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.settings import Settings
from shardrank.jobs.prometheus import HELP, READ_AT_MOST, run
from shardrank.stages.run.journal import Journal
from shardrank.stages.run.records import SUCCEEDED, RunRecord, write_run
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage

NOW = time.time()
STAGE = StageNow("embed", 8, 2, 5, 1.0, 900, 1, "broke", NOW - 60, 60.0, 20.5, False)


def record(run: str, began: float, outcome: Outcome | None = None, **more: object) -> RunRecord:
    made = RunRecord(run, "index", "shardrank index", "ann@host", None, began, began + 5)
    return RunRecord(**{**vars(made), "outcome": outcome, **more})


def night(root: Path, run: str, outcome: Outcome | None) -> None:
    """A run as its journal tells of it; None: it runs, or was killed."""
    journal = Journal(Workspace(LocalStorage(str(root))), record(run, time.time()))
    if outcome is not None:
        journal.ended(outcome)


def shown(root: Path, *records: RunRecord) -> dict[str, float]:
    """Values by metric and labels, of the records as they were written one after another."""
    workspace = Workspace(LocalStorage(str(root)))
    for each in records:
        write_run(workspace, each)
        time.sleep(0.01)
    return read(str(root))


def read(path: str) -> dict[str, float]:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        run(path, Settings())
    check(said.getvalue())
    found = re.findall(r"^(\w+)\{(.*)\} (\S+)$", said.getvalue(), re.MULTILINE)
    assert {name for name, _, _ in found} <= HELP.keys()
    return {f"{name} {labels.partition(',')[2]}".strip(): float(v) for name, labels, v in found}


def check(text: str) -> None:
    """By Prometheus' own tool, where it is there."""
    if shutil.which("promtool"):
        command = ["promtool", "check", "metrics"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text


def test_a_run_underway(tmp_path: Path) -> None:
    found = shown(tmp_path, record("a", time.time(), stages=(STAGE,)))
    assert found['shardrank_run_ending flow="index",ending="running"'] == 1
    assert found['shardrank_run_stage_progress_ratio flow="index",stage="embed"'] == 0.75
    assert found['shardrank_run_stage_left_seconds flow="index",stage="embed"'] == 20.5
    assert found['shardrank_run_units flow="index",state="failed"'] == 1
    assert not [name for name in found if "exit_code" in name or "succeeded" in name]


def test_a_run_that_was_cut_off(tmp_path: Path) -> None:
    found = shown(tmp_path, record("a", time.time() - 9999))
    assert found['shardrank_run_ending flow="index",ending="cut off"'] == 1


def test_the_last_run_counts(tmp_path: Path) -> None:
    good = record("a", 1000.0, Outcome("unchanged", 0, "", counts={"rejected": 7}))
    refused = record("b", 2000.0, Outcome("refused", 3, "", counts={}))
    found = shown(tmp_path, good, refused)
    assert found['shardrank_run_ending flow="index",ending="refused"'] == 1
    assert found['shardrank_run_exit_code flow="index"'] == 3
    assert 'shardrank_run_rejected_rows flow="index"' not in found


GOOD, BAD = Outcome("unchanged", 0, ""), Outcome("failed", 1, "")


def succeeded(root: Path) -> float:
    return read(str(root))['shardrank_run_succeeded_timestamp_seconds flow="index"']


@pytest.mark.parametrize("later", [None, BAD, Outcome("refused", 3, "")])
def test_a_night_of_the_same_name_does_not_hide_the_one_that_ended_well(
    tmp_path: Path, later: Outcome | None
) -> None:
    """Nothing changed, so tonight's run has the name of last night's, and its record."""
    night(tmp_path, "a", GOOD)
    then = succeeded(tmp_path)
    time.sleep(0.01)
    night(tmp_path, "a", later)
    assert succeeded(tmp_path) == then
    night(tmp_path, "a", GOOD)
    assert succeeded(tmp_path) > then


def test_a_good_night_is_known_after_any_number_of_others(tmp_path: Path) -> None:
    night(tmp_path, "good", GOOD)
    then = succeeded(tmp_path)
    for number in range(READ_AT_MOST + 1):
        night(tmp_path, f"bad-{number}", BAD)
    assert succeeded(tmp_path) == then
    shutil.rmtree(tmp_path / "runs" / "good")  # garbage collection
    assert succeeded(tmp_path) == then


def test_a_damaged_word_of_success_is_refused(tmp_path: Path) -> None:
    night(tmp_path, "a", GOOD)
    (tmp_path / SUCCEEDED / "index.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"succeeded/index\.json is damaged"):
        run(str(tmp_path), Settings())


def test_labels_are_quoted(tmp_path: Path) -> None:
    root = tmp_path / 'a "b" \\ ü'
    root.mkdir()
    assert shown(root, record("a", time.time()))


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        run(str(tmp_path), Settings())
