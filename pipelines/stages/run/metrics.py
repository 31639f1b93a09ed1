"""What Ray's metrics endpoint says of a run: told by the run's own process alone.

Workers count in their own processes, and what they spent comes back with each unit. Were they to
export it themselves, Ray would keep a series for every process that ever ran a task, and what a
killed one had not told yet would be lost. A unit counts once, when it is done or has failed; what
an earlier run finished is told apart. Ray puts `ray_` before every name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ray.util.metrics import Counter, Gauge

from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.tally import Spent
from shardrank.core.units import Done
from shardrank.stages.run.hosts import Failure
from shardrank.stages.run.reporter import Silent


@dataclass(frozen=True)
class Kind:
    """A metric: its name, what it counts, and the tags that it has beside the run's own."""

    name: str
    says: str
    tags: tuple[str, ...]
    kind: Literal["counter", "gauge"] = "counter"


#: Tags of every metric: the flow, and the INDEX that it makes a version of (else "").
OWN = ("flow", "path")

UNITS = Kind("shardrank_units_total", "Units done, failed, and resumed.", ("stage", "state"))
ROWS = Kind("shardrank_rows_total", "Rows of units done: passages, pairs, ...", ("stage",))
CUT = Kind("shardrank_truncated_total", "Inputs cut to fit a model.", ("stage",))
TOKENS = Kind("shardrank_tokens_total", "Tokens that models read.", ("stage",))
READ = Kind("shardrank_storage_read_bytes_total", "Bytes read.", ("stage", "storage"))
WRITTEN = Kind("shardrank_storage_written_bytes_total", "Bytes written.", ("stage", "storage"))
RETRIES = Kind("shardrank_storage_retries_total", "Requests sent again.", ("stage", "storage"))
BUSY = Kind("shardrank_worker_busy_seconds_total", "Workers at work.", ("stage", "worker"))
WAIT = Kind("shardrank_worker_wait_seconds_total", "Between two units.", ("stage", "worker"))
LOAD = Kind("shardrank_worker_load_seconds_total", "Loading a model.", ("stage", "worker"))
RUNS = Kind("shardrank_runs_total", "Runs that ended, by how.", ("ending",))

STAGE_UNITS = Kind("shardrank_stage_units", "Units of a stage.", ("stage", "state"), "gauge")
PROGRESS = Kind("shardrank_stage_progress_ratio", "Done of a stage.", ("stage",), "gauge")
LEFT = Kind("shardrank_stage_left_seconds", "Time left of a stage.", ("stage",), "gauge")
REJECTED = Kind("shardrank_rejected_rows", "Rows set aside.", ("stage", "reason"), "gauge")
RECALL = Kind("shardrank_recall_ratio", "Of the audit, by column.", ("column",), "gauge")
VERSION = Kind("shardrank_version", "The latest version's number.", (), "gauge")

KINDS = (
    *(UNITS, ROWS, CUT, TOKENS, READ, WRITTEN, RETRIES, BUSY, WAIT, LOAD, RUNS),
    *(STAGE_UNITS, PROGRESS, LEFT, REJECTED, RECALL, VERSION),
)
#: By the name of what is spent, up to its colon, the metric and the tag for what stands behind it.
_SPENT = {
    "tokens": (TOKENS, None),
    "truncated": (CUT, None),
    "read": (READ, "storage"),
    "written": (WRITTEN, "storage"),
    "retries": (RETRIES, "storage"),
    "busy": (BUSY, "worker"),
    "wait": (WAIT, "worker"),
    "load": (LOAD, "worker"),
}


class Meter(Silent):
    """Tells Ray (protocol: Reporter)."""

    def __init__(self, flow: str, index: str) -> None:
        # Ray takes no other letters.
        own = {"flow": flow, "path": index.encode("ascii", "backslashreplace").decode()}
        self._counters = {k: _counter(k, own) for k in KINDS if k.kind == "counter"}
        self._gauges = {k: _gauge(k, own) for k in KINDS if k.kind == "gauge"}
        self._stages: dict[str, StageNow] = {}

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._count(UNITS, resumed, stage=stage, state="resumed")
        self._gauges[PROGRESS].set(resumed / max(1, units), {"stage": stage})

    def advanced(self, stage: str, done: Done[Any]) -> None:
        self._count(UNITS, 1, stage=stage, state="done")
        self._count(ROWS, done.counts.get("rows", 0), stage=stage)

    def failed(self, stage: str, failure: Failure) -> None:
        self._count(UNITS, 1, stage=stage, state="failed")

    def spent(self, stage: str, spent: Spent) -> None:
        for name, amount in spent.items():
            what, _, whose = name.partition(":")
            kind, tag = _SPENT[what]
            self._count(kind, amount, stage=stage, **({tag: whose} if tag else {}))

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None:
        for reason, rows in reasons.items():
            self._gauges[REJECTED].set(rows, {"stage": stage, "reason": reason})

    def moved(self, now: StageNow) -> None:
        self._stages[now.stage] = now
        stage = {"stage": now.stage}
        states = {"all": now.units, "done": now.done, "failed": now.failed}
        for state, units in states.items():
            self._gauges[STAGE_UNITS].set(units, {**stage, "state": state})
        share = 1.0 if now.over else (now.done + now.share) / max(1, now.units)
        self._gauges[PROGRESS].set(share, stage)
        if now.left is not None:
            self._gauges[LEFT].set(now.left, stage)

    def finished(self, now: StageNow) -> None:
        self.moved(now)

    def ended(self, outcome: Outcome) -> None:
        # The process may live on, and would show stages that stand still or have failed for ever.
        for now in [*self._stages.values()]:
            self.moved(replace(now, over=True, failed=0, left=0.0))
        self._count(RUNS, 1, ending=outcome.ending)
        for column, recall in outcome.recall.items():
            self._gauges[RECALL].set(recall, {"column": column})
        if outcome.version is not None:
            self._gauges[VERSION].set(outcome.version, {})

    def _count(self, kind: Kind, amount: float, **tags: str) -> None:
        """Ray's counters take no 0."""
        if amount > 0:
            self._counters[kind].inc(amount, tags)


def _counter(kind: Kind, own: dict[str, str]) -> Counter:
    made = Counter(kind.name, kind.says, (*OWN, *kind.tags))
    made.set_default_tags(own)
    return made


def _gauge(kind: Kind, own: dict[str, str]) -> Gauge:
    made = Gauge(kind.name, kind.says, (*OWN, *kind.tags))
    made.set_default_tags(own)
    return made
