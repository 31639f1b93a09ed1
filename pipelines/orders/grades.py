"""Reading grades of passages that a language model has written, such as {"[1]": 5, "[2]": 3}."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float64
from shardrank.orders.answers import LONGEST, conclusion

#: An identifier in brackets, in quotes or in both, and its grade, as in JSON.
_GRADE = re.compile(r"(?:\"\[?|\[)(\w{1,8})\]?\"?\s{0,4}:\s{0,4}\"?(-?\d{1,8}(?:\.\d{1,8})?)")


@dataclass(frozen=True, eq=False)
class Grades:
    """What an answer says of n items.

    Attributes:
        scores: float64[n]; NaN: the answer has no grade of it, one that the scale does not know, or
            several that differ.
        foreign: how often it grades what is no item.
        parsed: whether it grades any item.
    """

    scores: Float64
    foreign: int
    parsed: bool

    @property
    def mended(self) -> bool:
        """Whether something was wrong with an answer that could be read."""
        return self.parsed and (self.foreign > 0 or bool(np.isnan(self.scores).any()))


def grades(answer: str, names: Sequence[str], scale: Sequence[str]) -> Grades:
    """The grades that an answer gives to the items that it names.

    Args:
        answer: as generated; its reasoning is cut off (see `conclusion`).
        names: the items' identifiers.
        scale: the grades that there are, as they are written.
    """
    said = unicodedata.normalize("NFKC", conclusion(answer)[:LONGEST])[:LONGEST]
    found: dict[str, set[str]] = {}
    for name, grade in _GRADE.findall(said):
        found.setdefault(name, set()).add(grade)
    known = [found.pop(name, set()) for name in names]
    scores = [_agreed(each, frozenset(scale)) for each in known]
    return Grades(np.array(scores, np.float64), len(found), not np.isnan(scores).all())


def _agreed(written: set[str], scale: frozenset[str]) -> float:
    """The one grade that was written."""
    return float(next(iter(written))) if len(written) == 1 and written <= scale else np.nan
