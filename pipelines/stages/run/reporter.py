"""Who is told how a run goes: a console, a log, the run's record, metrics, events."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, Protocol

from shardrank.core.outcomes import Outcome
from shardrank.core.pace import StageNow
from shardrank.core.tally import Spent
from shardrank.core.units import Done
from shardrank.stages.run.hosts import Failure

#: The stage under which is told what the run's own process spends: it plans, lists and publishes.
DRIVER = "driver"


#: Seconds that the end is kept back by what is being told.
PATIENCE = 1.0


class Reporter(Protocol):
    """Is told what happens, one thing at a time, in the run's own process."""

    def noted(self, sentence: str) -> None:
        """About the input, known before the first stage, or of what was made; it changes
        nothing."""

    def named(self, flow: str, run: str) -> None:
        """The run's name is known: the flow begins."""

    def waits(self, sentence: str) -> None:
        """What is waited for before the first stage, such as Ray's start."""

    def started(self, stage: str, units: int, resumed: int) -> None:
        """A stage begins; `resumed` of its units were finished before."""

    def advanced(self, stage: str, done: Done[Any]) -> None:
        """A unit is finished."""

    def failed(self, stage: str, failure: Failure) -> None:
        """A unit has failed; the others go on."""

    def spent(self, stage: str, spent: Spent) -> None:
        """What a unit's workers spent on it; of stage DRIVER, what the run's own process did."""

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None:
        """How many rows all units of a stage set aside, those resumed included, by reason."""

    def moved(self, now: StageNow) -> None:
        """How far the stage is: every few seconds, and after each unit."""

    def lives(self) -> None:
        """The run is alive: every few seconds, between stages, too."""

    def finished(self, now: StageNow) -> None:
        """The stage is over."""

    def ended(self, outcome: Outcome) -> None:
        """The run is over, however it ended; nothing follows."""


class Silent:
    """Nobody (protocol: Reporter); a class of one's own may override what it wants to hear."""

    def noted(self, sentence: str) -> None: ...

    def named(self, flow: str, run: str) -> None: ...

    def waits(self, sentence: str) -> None: ...

    def started(self, stage: str, units: int, resumed: int) -> None: ...

    def advanced(self, stage: str, done: Done[Any]) -> None: ...

    def failed(self, stage: str, failure: Failure) -> None: ...

    def spent(self, stage: str, spent: Spent) -> None: ...

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None: ...

    def moved(self, now: StageNow) -> None: ...

    def lives(self) -> None: ...

    def finished(self, now: StageNow) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


class Several:
    """Several, each told in turn, one thing at a time (protocol: Reporter)."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters, self._one_at_a_time = reporters, RLock()

    def noted(self, sentence: str) -> None:
        self._tell(lambda each: each.noted(sentence))

    def named(self, flow: str, run: str) -> None:
        self._tell(lambda each: each.named(flow, run))

    def waits(self, sentence: str) -> None:
        self._tell(lambda each: each.waits(sentence))

    def started(self, stage: str, units: int, resumed: int) -> None:
        self._tell(lambda each: each.started(stage, units, resumed))

    def advanced(self, stage: str, done: Done[Any]) -> None:
        self._tell(lambda each: each.advanced(stage, done))

    def failed(self, stage: str, failure: Failure) -> None:
        self._tell(lambda each: each.failed(stage, failure))

    def spent(self, stage: str, spent: Spent) -> None:
        self._tell(lambda each: each.spent(stage, spent))

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None:
        self._tell(lambda each: each.rejected(stage, reasons))

    def moved(self, now: StageNow) -> None:
        self._tell(lambda each: each.moved(now))

    def lives(self) -> None:
        self._tell(lambda each: each.lives())

    def finished(self, now: StageNow) -> None:
        self._tell(lambda each: each.finished(now))

    def ended(self, outcome: Outcome) -> None:
        """Told also where another thread has been telling for long, such as a store that does not
        answer: a run that is to stop has seconds."""
        taken = self._one_at_a_time.acquire(timeout=PATIENCE)
        try:
            for reporter in self._reporters:
                reporter.ended(outcome)
        finally:
            if taken:
                self._one_at_a_time.release()

    def _tell(self, what: Callable[[Reporter], None]) -> None:
        with self._one_at_a_time:
            for reporter in self._reporters:
                what(reporter)


class Once(Several):
    """Several, who are told of the end once (protocol: Reporter)."""

    _over = False

    def ended(self, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            super().ended(outcome)
