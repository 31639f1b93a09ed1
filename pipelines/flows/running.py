"""A flow's run from first word to last: watched, recorded, on the executor that suits it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shardrank.core.outcomes import outcome_of
from shardrank.core.settings import Settings
from shardrank.stages.index.publish import who
from shardrank.stages.run.events import Events, Origin
from shardrank.stages.run.executors import Amount, opened
from shardrank.stages.run.journal import Journal, job_name
from shardrank.stages.run.records import RunRecord
from shardrank.stages.run.reporter import Once, Reporter
from shardrank.stages.run.runner import Context
from shardrank.stages.run.watch import Watch
from shardrank.stages.run.workspace import Workspace


@dataclass(frozen=True)
class Asked:
    """What a run is asked for.

    Attributes:
        flow: index, compact, rank or label.
        command: as the record and the report show it.
        workspace: an INDEX, an OUT or a LABELS, whose lock is held.
        run: the run's name.
        settings: the run's.
        amount: of work, at most.
        verbose: say what Ray says.
        meanwhile: a module to import while Ray starts; see `cluster.connect`.
    """

    flow: str
    command: str
    workspace: Workspace
    run: str
    settings: Settings
    amount: Amount
    verbose: bool = False
    meanwhile: str | None = None


@dataclass(frozen=True)
class Command:
    """What is run: its flow, as the record shows it, and the INDEX, OUT or LABELS."""

    flow: str
    said: str
    workspace: Workspace


@contextmanager
def announced(command: Command, settings: Settings, reporter: Reporter) -> Iterator[Reporter]:
    """Who is told of the command: the reporter, and the hooks of [events] once it has ended and
    holds nothing any more, also where no run had begun yet."""
    origin = Origin(command.flow, command.workspace.storage.root, command.said, who())
    events = Events(settings.events, origin, reporter.noted)
    told = Once(reporter, events)
    try:
        yield told
    except BaseException as error:
        outcome = outcome_of(error)
        told.ended(outcome)
        events.tell(hurried=outcome.ending == "stopped")
        raise
    events.tell()


@contextmanager
def running(asked: Asked, reporter: Reporter) -> Iterator[Context]:
    """The context of a run: its stages are watched, and its end is told however it ends.

    Raises:
        RunFailed: no Ray could be started or reached.
        PlanRefused: a model's pool could never be scheduled.
    """
    reporter.named(asked.flow, asked.run)
    # The reporter before the record: where a store does not answer, a stopped run still says so.
    watch = Watch(reporter, Journal(asked.workspace, _record(asked)))
    opening = opened(
        asked.settings.cluster, asked.amount, watch.told.waits, asked.verbose, asked.meanwhile
    )
    with watch.watching(), opening as executor, watch.ending():
        watch.follow(executor.shares, executor.news)
        watch.add(executor.meter(asked.flow, _index(asked)))
        context = Context(
            asked.workspace, asked.run, asked.settings, executor, watch, asked.command
        )
        context.refuse_impossible()
        yield context


def _index(asked: Asked) -> str:
    """That the run makes a version of; "": of none."""
    return asked.workspace.storage.root if asked.flow in ("index", "compact") else ""


def _record(asked: Asked) -> RunRecord:
    now = time.time()
    return RunRecord(asked.run, asked.flow, asked.command, who(), job_name(), began=now, beat=now)
