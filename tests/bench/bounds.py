"""Figures that have no peer: each is measured a few times, and its median has a bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True)
class Bound:
    """What was measured, and what it may be at most.

    Attributes:
        unit: of the values: "s", or "×" for a ratio.
        values: one a round.
        most: the bound.
    """

    name: str
    unit: str
    values: Sequence[float]
    most: float

    @property
    def middle(self) -> float:
        return median(self.values)

    @property
    def kept(self) -> bool:
        return self.middle <= self.most

    def shown(self) -> str:
        """The median, and least and most where there are several, with the unit."""
        digits = 2 if self.most >= 0.1 else 4
        middle, least, most = (
            f"{value:.{digits}f}" for value in (self.middle, min(self.values), max(self.values))
        )
        return f"{middle} {self.unit}".rstrip() + f" ({least} to {most})" * (len(self.values) > 1)


def bounds_table(bounds: Sequence[Bound]) -> Table:
    """One row a bound."""
    shown = Table("", "measured", "at most", "", title="bounds")
    for bound in bounds:
        verdict = "kept" if bound.kept else "BROKEN"
        shown.add_row(bound.name, bound.shown(), f"{bound.most:g} {bound.unit}".rstrip(), verdict)
    return shown
