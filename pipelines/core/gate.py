"""The gate: what a version must not do to the one before it. Arithmetic over counts, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.core.settings import GateSettings
from pipelines.core.version import Part

#: Fewer new passages than this say nothing about how their encoder fares.
FEWEST_FOR_SPREAD = 100

#: New vectors may be this much less spread out than the stored ones.
LEAST_SPREAD = 0.2


@dataclass(frozen=True)
class Change:
    """What a run would do: documents before and after, those deleted, its rows and rejects."""

    before: int
    after: int
    deleted: int
    rows: int
    rejected: int


def refusals(change: Change, settings: GateSettings) -> list[str]:
    """Why the change may not be published, each with the setting that would allow it.

    A first version has nothing to lose: only its rejected rows count.
    """
    found = [_over("rows would be rejected", change.rejected, change.rows, settings, "rejected")]
    if change.before:
        moved = abs(change.after - change.before)
        found += [
            _over("documents would be deleted", change.deleted, change.before, settings, "deleted"),
            _over(
                f"documents more or less ({change.before:,} → {change.after:,})",
                moved,
                change.before,
                settings,
                "change",
            ),
        ]
    return [line for line in found if line]


def _over(what: str, count: int, of: int, settings: GateSettings, name: str) -> str:
    allowed = getattr(settings, f"max_{name}")
    share = count / of if of else 0.0
    if share <= allowed:
        return ""
    return f"{count:,} of {of:,} {what} ({share:.1%}; gate.max_{name} = {allowed:g})"


def collapsed(stored: Sequence[Part], new: Sequence[Part]) -> list[str]:
    """Why the new vectors cannot be right: an encoder gone wrong often gives one direction.

    Their spread is compared with that of the stored parts, made by the same encoder; where there
    are none, only vectors that all point the same way are refused.
    """
    if sum(part.live.passages for part in new) < FEWEST_FOR_SPREAD:
        return []
    least = LEAST_SPREAD * mean_spread(stored) if stored else 1e-6
    found = mean_spread(new)
    if found > least:
        return []
    usual = f", those stored {mean_spread(stored):.4f}" if stored else ""
    return [f"the new vectors nearly all point the same way (spread {found:.4f}{usual})"]


def mean_spread(parts: Sequence[Part]) -> float:
    """The parts' mean spread, each as heavy as its live passages."""
    weights = [part.live.passages for part in parts]
    if not sum(weights):
        return 1.0
    return float(np.average([part.spread for part in parts], weights=weights))


def spread(vectors: npt.NDArray[np.floating]) -> float:
    """1 minus the length of the mean direction of float[n, d]: 0 where all point the same way."""
    if not len(vectors):
        return 1.0
    wide = vectors.astype(np.float32)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    directions = wide / np.maximum(norms, np.finfo(np.float32).tiny)
    return round(1.0 - float(np.linalg.norm(directions.mean(axis=0))), 6)
