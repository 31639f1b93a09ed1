"""What a run leaves about itself: runs/RUN/run.json, how far it is and how it ended, for `status`;
runs/RUN/stages/STAGE.json, which units each stage wanted, for the reports; and, if it ended well,
runs/succeeded/FLOW.json."""

from dataclasses import dataclass

from shardrank.core.errors import InputError, IntegrityError
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.papers import from_json, to_json
from shardrank.stages.run.workspace import Workspace

#: Where it stands when each flow last ended well: the record of that run may be gone, since the
#: next night has the same name where nothing changed.
SUCCEEDED = "runs/succeeded"

#: Seconds after which a run that wrote nothing is taken for dead: it writes every ten.
SILENCE = 60.0


@dataclass(frozen=True)
class RunRecord:
    """A run as its last attempt is, or left it.

    Attributes:
        run: its name.
        flow: index, compact, rank or label.
        command: what it was asked for by.
        by: who and where: user@host.
        job: the name of its job on a Ray cluster; None: it is none.
        began: seconds since 1970.
        beat: when this was written.
        waits: what it waits for, before the first stage.
        stages: those that began, in their order.
        outcome: how it ended; None: it runs, or was cut off.
    """

    run: str
    flow: str
    command: str
    by: str
    job: str | None
    began: float
    beat: float
    waits: str = ""
    stages: tuple[StageNow, ...] = ()
    outcome: Outcome | None = None

    def ending(self, now: float) -> str:
        """How it ended: an Ending, else running, or cut off where it has long been silent."""
        if self.outcome is not None:
            return self.outcome.ending
        return "running" if now - self.beat < SILENCE else "cut off"


def write_run(workspace: Workspace, record: RunRecord) -> None:
    """Write it, or write it again."""
    workspace.write_json(run_key(record.run), to_json(record))


def read_run(workspace: Workspace, run: str) -> RunRecord | None:
    """None where the run left no record, or one that this version of shardrank cannot read."""
    try:
        return from_json(RunRecord, workspace.read_json(run_key(run)))
    except (InputError, ValueError):
        return None


def newest_runs(workspace: Workspace, most: int) -> list[RunRecord]:
    """The runs that wrote their record last, the newest first, and no more than so many: each
    costs a read."""
    keys = [(e.modified, e.key.split("/")) for e in workspace.storage.list("runs")]
    runs = [(at, key[1]) for at, key in keys if key[2:] == ["run.json"]]
    found = (read_run(workspace, run) for _, run in sorted(runs, reverse=True)[:most])
    return [record for record in found if record is not None]


@dataclass(frozen=True)
class Success:
    """When a flow last ended well, in seconds since 1970, and which run that was."""

    flow: str
    run: str
    time: float


def write_success(workspace: Workspace, success: Success) -> None:
    """It takes the place of the flow's last one."""
    workspace.write_json(f"{SUCCEEDED}/{success.flow}.json", to_json(success))


def last_successes(workspace: Workspace) -> list[Success]:
    """Of each flow that has ever ended well.

    Raises:
        IntegrityError: what says so is damaged. Without it, a missed night would raise no alert.
    """
    return [_read_success(workspace, entry.key) for entry in workspace.storage.list(SUCCEEDED)]


def _read_success(workspace: Workspace, key: str) -> Success:
    try:
        return from_json(Success, workspace.read_json(key))
    except ValueError as error:
        raise IntegrityError(
            f"{workspace.storage.root}/{key} is damaged: {error}.",
            "Delete it; the next run that ends well writes it again.",
        ) from error


def run_key(run: str) -> str:
    """Where a run's record lies."""
    return f"runs/{run}/run.json"


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


def _key(run: str, stage: str) -> str:
    return f"runs/{run}/stages/{stage}.json"
