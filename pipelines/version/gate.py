"""The gate: what a version must not do to the one before it. Arithmetic over counts, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardrank.core.index_settings import GateSettings
from shardrank.core.model_settings import DENSE
from shardrank.version.parts import Part

#: Fewer new passages than this say nothing about how their encoder fares.
FEWEST_FOR_SPREAD = 100


@dataclass(frozen=True)
class Change:
    """What a run would do: documents before and after, those changed and deleted, its rows and
    rejects."""

    before: int
    after: int
    changed: int
    deleted: int
    rows: int
    rejected: int


@dataclass(frozen=True)
class Refusal:
    """Why something may not be published, and the setting (table.key=value) that would allow it."""

    reason: str
    setting: str


def refusals(change: Change, settings: GateSettings) -> list[Refusal]:
    """Why the change may not be published. A first version has nothing to lose: only its rejected
    rows count."""
    moved = f"documents more or less ({change.before:,} → {change.after:,})"
    difference = abs(change.after - change.before)
    asked = [("max_rejected", "rows would be rejected", change.rejected, change.rows)]
    if change.before:
        asked += [
            ("max_deleted", "documents would be deleted", change.deleted, change.before),
            ("max_changed", "documents would be embedded anew", change.changed, change.before),
            ("max_change", moved, difference, change.before),
        ]
    found = [_over(what, count, of, name, settings) for name, what, count, of in asked]
    return [refusal for refusal in found if refusal]


def _over(what: str, count: int, of: int, name: str, settings: GateSettings) -> Refusal | None:
    allowed = getattr(settings, name)
    share = count / of if of else 0.0
    if share <= allowed:
        return None
    reason = f"{count:,} of {of:,} {what} ({share:.1%}; gate.{name} = {allowed:g})"
    return Refusal(reason, f"gate.{name}={math.ceil(share * 100) / 100:g}")


def collapsed(stored: Sequence[Part], new: Sequence[Part], settings: GateSettings) -> list[Refusal]:
    """Why the new vectors cannot be right: an encoder gone wrong often gives one direction.

    Their spread is compared with that of the stored parts, made by the same encoder; where there
    are none, only vectors that all point the same way are refused.
    """
    if sum(part.live.passages for part in new) < FEWEST_FOR_SPREAD:
        return []
    usual = stored_spread(stored)
    least = settings.min_spread * usual if stored else min(settings.min_spread, 1e-6)
    found = mean_spread(new)
    if found > least or not settings.min_spread:
        return []
    beside = f", those stored {usual:.4f}; gate.min_spread = {settings.min_spread:g}"
    reason = (
        "the new vectors nearly all point the same way "
        f"(spread {found:.4f}{beside if stored else ''})"
    )
    return [Refusal(reason, "gate.min_spread=0")]


def stored_spread(parts: Sequence[Part]) -> float:
    """As heavy as their rows: a part that loses them all still says how its encoder spreads."""
    rows = [part.rows for part in parts]
    return float(np.average([_spread_of(part) for part in parts], weights=rows)) if parts else 1.0


def mean_spread(parts: Sequence[Part]) -> float:
    """The parts' mean spread, each as heavy as its live passages."""
    weights = [part.live.passages for part in parts]
    if not sum(weights):
        return 1.0
    return float(np.average([_spread_of(part) for part in parts], weights=weights))


def _spread_of(part: Part) -> float:
    found = part.columns[DENSE].spread
    assert found is not None
    return found


def spread(vectors: npt.NDArray[np.floating]) -> float:
    """1 minus the length of the mean direction of float[n, d]: 0 where all point the same way."""
    if not len(vectors):
        return 1.0
    wide = vectors.astype(np.float32)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    directions = wide / np.maximum(norms, np.finfo(np.float32).tiny)
    return round(1.0 - float(np.linalg.norm(directions.mean(axis=0))), 6)
