"""What `status --prometheus` prints, from the records that runs leave."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from shardrank.core.errors import InputError
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.settings import Settings
from shardrank.jobs.prometheus import HELP, run
from shardrank.stages.run.records import RunRecord, write_run
from shardrank.stages.run.workspace import Workspace
from shardrank.storage.local import LocalStorage

NOW = time.time()
STAGE = StageNow("embed", 8, 2, 5, 1.0, 900, 1, "broke", NOW - 60, 60.0, 20.5, False)


def record(run: str, began: float, outcome: Outcome | None = None, **more: object) -> RunRecord:
    made = RunRecord(run, "index", "shardrank index", "ann@host", None, began, began + 5)
    return RunRecord(**{**vars(made), "outcome": outcome, **more})


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


def test_the_last_run_counts_and_the_last_good_one_is_remembered(tmp_path: Path) -> None:
    good = record("a", 1000.0, Outcome("unchanged", 0, "", counts={"rejected": 7}))
    refused = record("b", 2000.0, Outcome("refused", 3, "", counts={}))
    found = shown(tmp_path, good, refused)
    assert found['shardrank_run_ending flow="index",ending="refused"'] == 1
    assert found['shardrank_run_exit_code flow="index"'] == 3
    assert found['shardrank_run_succeeded_timestamp_seconds flow="index"'] == 1005
    assert 'shardrank_run_rejected_rows flow="index"' not in found


def test_labels_are_quoted(tmp_path: Path) -> None:
    root = tmp_path / 'a "b" \\ ü'
    root.mkdir()
    assert shown(root, record("a", time.time()))


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        run(str(tmp_path), Settings())
