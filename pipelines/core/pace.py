"""How fast a stage goes, and how long it takes yet: arithmetic on what was seen of it.

Loading models and starting workers says nothing about what is left, so the pace is counted from the
first moment at which anything was seen to be done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class StageNow:
    """A stage as it is now.

    Attributes:
        stage: its name.
        units: all of them.
        resumed: those that an earlier run had finished.
        done: finished ones, `resumed` included.
        share: of units underway, in units: two that are half done are 1.
        rows: that the units finished now handled.
        failed: units that failed.
        trouble: the first failure's words; "": there is none.
        began: seconds since 1970.
        seconds: that it took, or takes so far.
        left: seconds that it takes yet; None: nothing was done yet to judge by.
        over: whether it has ended.
    """

    stage: str
    units: int
    resumed: int
    done: int
    share: float
    rows: int
    failed: int
    trouble: str
    began: float
    seconds: float
    left: float | None
    over: bool

    @property
    def rate(self) -> float:
        """Rows a second, of finished units."""
        return self.rows / max(1e-3, self.seconds)


@dataclass
class Pace:
    """What was seen of one stage; all times are handed in, seconds since 1970."""

    stage: str
    units: int
    resumed: int
    began: float
    done: int = 0
    rows: int = 0
    failed: int = 0
    trouble: str = ""
    _finished: set[str] = field(default_factory=set)
    _share: float = 0.0
    _first: tuple[float, float] | None = None

    def finish(self, unit: str, rows: int, at: float) -> None:
        """A unit is done."""
        self._finished.add(unit)
        self.done += 1
        self.rows += rows
        self._see(at)

    def fail(self, unit: str, words: str, at: float) -> None:
        """A unit has failed."""
        self._finished.add(unit)
        self.failed += 1
        self.trouble = self.trouble or words
        self._see(at)

    def move(self, shares: Mapping[str, float], at: float) -> None:
        """How far the units underway are; what is told of finished ones comes late."""
        under = (share for unit, share in shares.items() if unit not in self._finished)
        self._share = sum(min(1.0, share) for share in under)
        self._see(at)

    def now(self, at: float, over: bool = False) -> StageNow:
        """The stage at a time."""
        return StageNow(
            stage=self.stage,
            units=self.units,
            resumed=self.resumed,
            done=self.resumed + self.done,
            share=0.0 if over else self._share,
            rows=self.rows,
            failed=self.failed,
            trouble=self.trouble,
            began=self.began,
            seconds=round(max(0.0, at - self.began), 3),
            left=0.0 if over else self._left(at),
            over=over,
        )

    @property
    def _fresh(self) -> float:
        return self.done + self.failed + self._share

    def _see(self, at: float) -> None:
        if self._first is None and self._fresh > 0:
            self._first = (at, self._fresh)

    def _left(self, at: float) -> float | None:
        left = self.units - self.resumed - self._fresh
        if self._first is None:
            return None
        since, seen = self._first
        if self._fresh > seen and at > since:
            return round(left * (at - since) / (self._fresh - seen), 1)
        # Of one moment nothing can be told but that all before it was no faster.
        return round(left * (at - self.began) / self._fresh, 1) if self.done else None
