"""What every stage shares: plan minus done → sweep → markers; all failures raised at once."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardrank.core import errors
from shardrank.core.errors import RunFailed, ShardrankError, summarise_failures
from shardrank.core.pools import Pool, Resources, on_cpus, plan_pool, plan_search
from shardrank.core.settings import Settings
from shardrank.core.units import Done, Made, Spec, Stage, Unit
from shardrank.stages.run.executor import Executor
from shardrank.stages.run.hosts import Ended, Failure, Step
from shardrank.stages.run.records import StageRun, read_stage_run, write_stage_run
from shardrank.stages.run.watch import Watch
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """What a flow hands to its stages.

    `command` is what the run was asked for by, as its report shows it.
    """

    workspace: Workspace
    run: str
    settings: Settings
    executor: Executor
    watch: Watch
    command: str = ""

    @property
    def resources(self) -> Resources:
        """What there is to run on."""
        return self.executor.resources

    def refuse_impossible(self) -> None:
        """Raise PlanRefused before any work where a model's pool could never be scheduled."""
        plan_pool(self.resources, self.settings.cluster)

    def model_pool(self, units: int) -> Pool:
        """The actors for a model stage of so many units."""
        return plan_pool(self.resources, self.settings.cluster, units)

    def search_pool(self, units: int, dense: bool) -> Pool:
        """The actors for searching so many shards; those of sparse vectors hold no GPU."""
        cluster = self.settings.cluster
        if not dense:
            return plan_pool(self.resources, on_cpus(cluster), units)
        return plan_search(self.resources, cluster, self.settings.search.device, units)


def run_stage(
    context: Context, stage: Stage[Spec, Made], specs: Sequence[Spec], steps: Sequence[Step]
) -> list[Done[Made]]:
    """Finish every unit of a stage; those finished earlier, in any run, are not run again.

    A stage with nothing left to do keeps the record of the attempt that did the work.

    Returns:
        The markers, in the order of `specs`.

    Raises:
        ShardrankError: of the first failure that is bad input, else RunFailed naming all.
    """
    if not specs:
        return []
    started, units = time.time(), [Unit(stage.name, spec) for spec in specs]
    done = context.workspace.find(stage, units)
    todo = list({u.id: u for u in units if u.id not in done}.values())
    ids = tuple(unit.id for unit in units)
    record = StageRun(stage.name, ids, len(done), rows=0, seconds=None, began=started)
    held = read_stage_run(context.workspace, context.run, stage.name)
    context.watch.started(stage.name, len(units), len(done))
    if todo or held is None:
        write_stage_run(context.workspace, context.run, record)
    failures: list[Failure] = []
    for ended in _ended(context, stage, todo, steps):
        context.watch.spent(stage.name, ended.spent)
        outcome = ended.outcome
        if isinstance(outcome, Failure):
            failures.append(outcome)
            context.watch.failed(stage.name, outcome)
        else:
            done[outcome.unit] = outcome
            context.watch.advanced(stage.name, outcome)
    seconds = time.time() - started
    if todo or held is None or held.seconds is None:
        rows = sum(_rows(done[unit.id]) for unit in todo if unit.id in done)
        finished = replace(record, rows=rows, seconds=round(seconds, 3))
        write_stage_run(context.workspace, context.run, finished)
    context.watch.finished()
    _raise(stage.name, failures)
    return [done[unit.id] for unit in units]


def _ended(
    context: Context,
    stage: Stage[Spec, Made],
    todo: Sequence[Unit[Spec]],
    steps: Sequence[Step],
) -> Iterator[Ended]:
    if not todo:
        return
    left = {unit.id for unit in todo}
    for ended in context.executor.sweep(context.workspace, stage, todo, steps):
        left.discard(ended.outcome.unit)
        yield ended
    if left:
        raise RunFailed(
            f"{len(left)} of {len(todo)} units have no outcome under the names they were given.",
            "Check that all workers run this version of shardrank, then run it again.",
        )


def _rows(done: Done[Any]) -> int:
    return done.counts.get("rows", 0)


def _raise(stage: str, failures: Sequence[Failure]) -> None:
    if not failures:
        return
    for failure in failures:
        kind = getattr(errors, failure.kind, None)
        if isinstance(kind, type) and issubclass(kind, ShardrankError) and kind.exit_code == 2:
            more = f" ({len(failures) - 1} more units of {stage} failed.)" * (len(failures) > 1)
            raise kind(failure.message + more, failure.hint)
    lines = summarise_failures([(f.unit, f.message) for f in failures])
    raise RunFailed(
        f"{len(failures)} units of {stage} failed:\n{lines}\n\n{failures[0].trace}",
        "Finished units are kept; mend the cause and run the same command again.",
    )
