"""Groupwise scores: a model scores each item of a group, seen together with the others (GroupRank).

GroupRank (arXiv 2511.11653) cuts a shuffled list into groups, asks for a score from 0 to 10 for
each item of a group, does so several times with other groups, and averages an item's scores. Its
code (AQ-MedAI/Diver, commit 95b111b) differs from this in three ways:

- It shuffles at random. Here each group gets one item of every run of as many neighbours as there
  are groups, so that all groups are equally strong, and the next pass mixes them anew. No seed is
  needed, and a list's groups depend on nothing but its length.
- Its groups can overlap within a pass, by an interval shorter than a group. Two passes do the same.
- Where a group's answer cannot be read, each of its items is given a 0, which is averaged in. Here
  a score that is missing is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Float64, Int32
from shardrank.core.errors import SettingsError


@dataclass(frozen=True)
class Groups:
    """How a list is cut into groups.

    Attributes:
        size: items of a group at most, at least 1.
        passes: how often each item is scored, at least 1.

    Raises:
        SettingsError: a number is out of its range.
    """

    size: int
    passes: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.passes < 1:
            raise SettingsError(
                f"Groups of {self.size} in {self.passes} passes score nothing.",
                "A group holds one item at least, and there is one pass at least.",
            )

    def groups(self, n: int) -> list[Int32]:
        """The items of each group, pass after pass; each item is in one group of a pass.

        The groups of a pass are as few as can be, and their sizes differ by one at most. With m of
        them, item i of run b (of m neighbours) is in group (i + b × pass) mod m. Every second pass
        shows its groups from the worst to the best, so that a bias for a place in the prompt
        falls on both ends of the list.

        Args:
            n: items, numbered in the old order.
        """
        return [group for turn in range(self.passes) for group in self._pass(n, turn)]

    def _pass(self, n: int, turn: int) -> list[Int32]:
        parts = -(-n // self.size)
        items = np.arange(n, dtype=np.int32)
        group = (items + items // max(parts, 1) * turn) % max(parts, 1)
        shown = -1 if turn % 2 else 1
        return [items[group == part][::shown] for part in range(parts)]

    def calls(self, n: int) -> int:
        """How many groups `groups(n)` has."""
        return self.passes * -(-n // self.size)


def averaged(n: int, groups: Sequence[Int32], scores: Sequence[Float32 | Float64]) -> Float64:
    """float64[n]: the mean of each item's scores that are not NaN; NaN where it has none.

    Args:
        n: items.
        groups: the items of each group.
        scores: theirs, in the same places; NaN for what could not be read.
    """
    item = np.concatenate([np.empty(0, np.int32), *groups])
    score = np.concatenate([np.empty(0, np.float64), *scores])
    known = ~np.isnan(score)
    counts = np.bincount(item[known], minlength=n)
    totals = np.bincount(item[known], weights=score[known], minlength=n)
    means = np.full(n, np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means
