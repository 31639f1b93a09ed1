"""A run's record on storage, written while it runs, so that any machine can see how far it is."""

import json
import os
import time
from contextlib import suppress
from dataclasses import replace

from shardrank.core.errors import ShardrankError
from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.stages.run.records import RunRecord, Success, write_run, write_success
from shardrank.stages.run.reporter import Silent
from shardrank.stages.run.workspace import Workspace

#: Seconds between two writes; a run whose record is several times as old was cut off.
BEAT_EVERY = 10.0

#: What Ray's job server gives to a job's driver: JSON with the job's name among its metadata.
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


class Journal(Silent):
    """Writes runs/RUN/run.json, and at a good end runs/succeeded/FLOW.json (protocol: Reporter).
    What storage refuses of them is left out: the run does not fail for its record."""

    def __init__(self, workspace: Workspace, record: RunRecord) -> None:
        self._workspace, self._record = workspace, record
        self._written = 0.0
        self._write()

    def waits(self, sentence: str) -> None:
        self._keep(replace(self._record, waits=sentence))

    def moved(self, now: StageNow) -> None:
        before = [each for each in self._record.stages if each.stage != now.stage]
        self._keep(replace(self._record, waits="", stages=(*before, now)))

    def lives(self) -> None:
        self._keep(self._record)

    def finished(self, now: StageNow) -> None:
        self.moved(now)

    def ended(self, outcome: Outcome) -> None:
        self._record = replace(self._record, waits="", outcome=outcome)
        if outcome.exit_code == 0:
            self._succeed()
        self._write()

    def _succeed(self) -> None:
        success = Success(self._record.flow, self._record.run, time.time())
        with suppress(ShardrankError):
            write_success(self._workspace, success)

    def _keep(self, record: RunRecord) -> None:
        self._record = record
        if time.time() - self._written > BEAT_EVERY:
            self._write()

    def _write(self) -> None:
        self._written = time.time()
        with suppress(ShardrankError):
            write_run(self._workspace, replace(self._record, beat=self._written))


def job_name() -> str | None:
    """Of the job that this process is the driver of; None: it is none's."""
    try:
        told = json.loads(os.environ.get(_JOB, "{}"))
        return str(told["metadata"]["job_submission_id"])
    except (ValueError, KeyError, TypeError):
        return None
