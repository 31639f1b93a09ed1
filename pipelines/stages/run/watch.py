"""The watch over a run: what its stages do is told to all reporters, and how far they are every few
seconds, from a thread that asks the executor."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event, RLock, Thread
from typing import Any

from shardrank.core.outcomes import Outcome, outcome_of
from shardrank.core.pace import Pace
from shardrank.core.tally import Spent, take
from shardrank.core.units import Done
from shardrank.stages.run.hosts import Failure
from shardrank.stages.run.reporter import DRIVER, Reporter, Several

#: Seconds between two looks at the units underway.
LOOK_EVERY = 2.0
#: Seconds that a look under way may take when the run ends.
PATIENCE = 1.0

Shares = Callable[[], Mapping[str, float]]
News = Callable[[], list[str]]


class Watch:
    """Tells a run's reporters what its stages do. One stage runs at a time."""

    def __init__(self, *reporters: Reporter) -> None:
        self.told: Reporter = Several(*reporters)
        self._pace: Pace | None = None
        self._shares: Shares = dict
        self._news: News = list
        self._outcome: Outcome | None = None
        self._ended = False
        self._looking: Thread | None = None
        self._lock, self._over = RLock(), Event()

    def follow(self, shares: Shares, news: News) -> None:
        """From now on ask the executor how far units underway are, and what happens to it."""
        self._shares, self._news = shares, news

    def add(self, reporter: Reporter) -> None:
        """From now on this one is told, too, before the others."""
        with self._lock:
            self.told = Several(reporter, self.told)

    def started(self, stage: str, units: int, resumed: int) -> None:
        """A stage begins."""
        with self._lock:
            self._pace = Pace(stage, units, resumed, time.time())
            self.told.started(stage, units, resumed)

    def advanced(self, stage: str, done: Done[Any]) -> None:
        """A unit of it is finished."""
        with self._lock:
            pace, at = self._running(), time.time()
            pace.finish(done.unit, done.counts.get("rows", 0), at)
            self.told.advanced(stage, done)
            self.told.moved(pace.now(at))

    def failed(self, stage: str, failure: Failure) -> None:
        """A unit of it has failed."""
        with self._lock:
            pace, at = self._running(), time.time()
            pace.fail(failure.unit, failure.message, at)
            self.told.failed(stage, failure)
            self.told.moved(pace.now(at))

    def spent(self, stage: str, spent: Spent) -> None:
        """What was spent on a unit of it."""
        with self._lock:
            self.told.spent(stage, spent)

    def noted(self, sentence: str) -> None:
        """What came of a stage, as a sentence."""
        with self._lock:
            self.told.noted(sentence)

    def rejected(self, stage: str, reasons: Mapping[str, int]) -> None:
        """What its units set aside."""
        with self._lock:
            self.told.rejected(stage, reasons)

    def finished(self) -> None:
        """The stage is over."""
        with self._lock:
            self.told.spent(DRIVER, take())
            self.told.finished(self._running().now(time.time(), over=True))
            self._pace = None

    def ends(self, outcome: Outcome) -> None:
        """What is told of a run that ends without an error."""
        self._outcome = outcome

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the context lasts, units underway are looked at, every few seconds."""
        self._looking = Thread(target=self._look, name="watch", daemon=True)
        self._looking.start()
        with self.ending():
            yield

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Tells the run's end when the context ends, once: the innermost one does."""
        try:
            yield
        except BaseException as error:
            self._end(outcome_of(error))
            raise
        self._end(self._outcome or Outcome("done", 0, ""))

    def _end(self, outcome: Outcome) -> None:
        """Nobody looks at an executor that is about to close."""
        if self._ended:
            return
        self._ended = True
        self._over.set()
        if self._looking is not None:
            self._looking.join(PATIENCE)  # it may wait for a cluster or a store that is gone
        self.told.spent(DRIVER, take())
        self.told.ended(self._placed(outcome))

    def _placed(self, outcome: Outcome) -> Outcome:
        """Where a run was stopped: what of the stage at hand is finished."""
        if outcome.ending != "stopped" or self._pace is None:
            return outcome
        now = self._pace.now(time.time())
        where = f"In {now.stage}, {now.done} of {now.units} units are finished."
        return replace(outcome, said=f"{outcome.said} {where}")

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            with suppress(Exception):  # neither a lost cluster nor a reporter ends the looking
                self._tell_of(self._shares(), self._news())
            with suppress(Exception):
                self.told.lives()

    def _tell_of(self, shares: Mapping[str, float], news: list[str]) -> None:
        with self._lock:
            for sentence in news:
                self.told.noted(sentence)
            if self._pace is not None:
                at = time.time()
                self._pace.move(shares, at)
                self.told.moved(self._pace.now(at))

    def _running(self) -> Pace:
        assert self._pace is not None
        return self._pace
