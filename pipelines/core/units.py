"""Units of work and what vouches for them.

A unit is named from what decides its output (its spec), never from time or place, so the same
work has the same name in every run, and finished work is found again after a crash.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import DENSE
from shardrank.core.papers import from_json, to_json

#: Part of every unit's name. Raise it with any change of the code that gives other outputs for the
#: same spec, so that work finished by the code before is not taken for done.
REVISION = 9

Spec = TypeVar("Spec")
Made = TypeVar("Made", covariant=True)


@dataclass(frozen=True)
class Stage(Generic[Spec, Made]):
    """A step of a flow: its name, and two papers (`shardrank.core.papers`).

    What precedes the first hyphen of a name is ours, what follows it a name that a user gave, or a
    number of ours: so no name that a user gives meets another stage. Words of ours are joined by _.

    Attributes:
        spec: all that decides what a unit makes, and so names it.
        made: what a finished unit leaves: its files, and what the next stages want to know.
    """

    name: str
    spec: type[Spec]
    made: type[Made]

    def of(self, name: str) -> "Stage[Spec, Made]":
        """The step for a column, an encoder or a retriever of this name; the first one's is the
        step itself.

        Raises:
            ValueError: the step has a name already, or a hyphen in its own.
        """
        if "-" in self.name:
            raise ValueError(f"What {self.name!r} stands for a user's name could stand for, too.")
        return self if name == DENSE else replace(self, name=f"{self.name}-{name}")


@dataclass(frozen=True)
class Unit(Generic[Spec]):
    """One piece of a stage's work."""

    stage: str
    spec: Spec

    @cached_property
    def id(self) -> str:
        """20 hex digits."""
        return fingerprint({"revision": REVISION, "stage": self.stage, "spec": to_json(self.spec)})


@dataclass(frozen=True)
class Done(Generic[Made]):
    """The marker written last: the unit, what it made, and counts that must reconcile.

    `seconds` is the only value here that differs between two runs of the same work.
    """

    unit: str
    made: Made
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def done_json(done: Done[Any]) -> dict[str, Any]:
    """A marker as what JSON has."""
    return {
        "unit": done.unit,
        "made": to_json(done.made),
        "counts": dict(done.counts),
        "seconds": done.seconds,
    }


def read_done(stage: Stage[Any, Made], value: Mapping[str, Any]) -> Done[Made]:
    """The marker that `done_json` made the value of; raises ValueError or KeyError."""
    made = from_json(stage.made, value["made"])
    return Done(value["unit"], made, value["counts"], value["seconds"])


def total(dones: Iterable[Done[Any]], count: str) -> int:
    """The sum of one count over finished units; units that lack it count as 0."""
    return sum(done.counts.get(count, 0) for done in dones)
