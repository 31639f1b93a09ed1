"""What a run leaves about its stages: runs/RUN/stages/STAGE.json, for `status` and the reports."""

from dataclasses import dataclass

from shardrank.core.papers import from_json, to_json
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class StageRun:
    """A stage of a run.

    Attributes:
        stage: its name.
        units: the ids of all its units.
        resumed: how many of them were finished before.
        rows: that the others handled.
        seconds: it took; None: it runs, or was cut off.
        began: seconds since 1970.
    """

    stage: str
    units: tuple[str, ...]
    resumed: int
    rows: int
    seconds: float | None
    began: float


def write_stage_run(workspace: Workspace, run: str, record: StageRun) -> None:
    """Write it, or write it anew."""
    workspace.write_json(_key(run, record.stage), to_json(record))


def read_stage_run(workspace: Workspace, run: str, stage: str) -> StageRun | None:
    """None where the run never came to the stage."""
    key = _key(run, stage)
    return from_json(StageRun, workspace.read_json(key)) if workspace.storage.exists(key) else None


def stage_runs(workspace: Workspace, run: str) -> list[StageRun]:
    """A run's stages in the order in which they began."""
    entries = workspace.storage.list(f"runs/{run}/stages")
    found = [from_json(StageRun, workspace.read_json(entry.key)) for entry in entries]
    return sorted(found, key=lambda record: record.began)


def all_stage_runs(workspace: Workspace) -> list[tuple[str, StageRun]]:
    """Those of all runs, beside the run's name, in the order in which they began."""
    keys = (entry.key.split("/") for entry in workspace.storage.list("runs"))
    runs = {key[1] for key in keys if key[2:3] == ["stages"]}
    found = [(run, record) for run in sorted(runs) for record in stage_runs(workspace, run)]
    return sorted(found, key=lambda each: each[1].began)


def _key(run: str, stage: str) -> str:
    return f"runs/{run}/stages/{stage}.json"
