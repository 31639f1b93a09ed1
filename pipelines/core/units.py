"""Units of work and what vouches for them.

A unit is named from what decides its output (its spec), never from time or place, so the same
work has the same name in every run, and finished work is found again after a crash.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from shardrank.core.fingerprint import canonical_json, fingerprint

#: Part of every unit's name. Raise it with any change of the code that gives other outputs for the
#: same spec, so that work finished by the code before is not taken for done.
REVISION = 6


@dataclass(frozen=True)
class FileRef:
    """A stored file as a manifest vouches for it. `key` is relative to the storage's root."""

    key: str
    bytes: int
    sha256: str
    rows: int = 0

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "FileRef":
        return cls(**value)

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Unit:
    """One piece of a stage's work. `spec` is JSON and holds all that decides the output."""

    stage: str
    spec: Mapping[str, Any]

    @cached_property
    def id(self) -> str:
        return fingerprint({"revision": REVISION, "stage": self.stage, "spec": self.spec})

    def json(self) -> dict[str, Any]:
        return {"stage": self.stage, "spec": self.spec}


@dataclass(frozen=True)
class Done:
    """The marker written last: the unit, its output files, and counts that must reconcile.

    `seconds` is the only value here that differs between two runs of the same work.
    """

    unit: str
    outputs: Mapping[str, FileRef]
    counts: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_bytes(self) -> bytes:
        return canonical_json(asdict(self))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Done":
        outputs = {name: FileRef.parse(ref) for name, ref in value["outputs"].items()}
        return cls(value["unit"], outputs, value["counts"], value["facts"], value["seconds"])


def total(dones: Iterable[Done], count: str) -> int:
    """The sum of one count over finished units; units that lack it count as 0."""
    return sum(done.counts.get(count, 0) for done in dones)
