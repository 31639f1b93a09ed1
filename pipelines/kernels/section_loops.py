"""The loops of `corpus/outline.py`, as machine code: the text between headings."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int8, Int64
from shardrank.kernels.compiled import compiled, compiled_bare

UInt32 = npt.NDArray[np.uint32]


class HeadPlaces(NamedTuple):
    """Headings of texts, in order.

    Attributes:
        owners: int64[h], the number of each one's text.
        levels: int8[h], from 1.
        begins, ends: int64[h], their characters, of all texts as these lie one behind the other.
    """

    owners: Int64
    levels: Int8
    begins: Int64
    ends: Int64


@compiled
def find_sections(
    codes: UInt32, bounds: Int64, heads: HeadPlaces, seen: Bool, parents: Int64, found: Int64
) -> int:
    """How many sections texts have: see `shardrank.corpus.outline.Sections`.

    Args:
        codes: uint32[n], the characters of all texts.
        bounds: int64[texts + 1]; text t is codes[bounds[t] : bounds[t + 1]].
        heads: theirs.
        seen: bool[more than the largest code], whether a character is seen.
        parents: int64[h], filled: the heading that each is below; -1: none.
        found: int64[4, h + texts], filled: of each section its text, its first character and last
            + 1, and the heading that it is below, or -1.
    """
    filled = head = 0
    for text in range(len(bounds) - 1):
        first, begin, end = head, bounds[text], bounds[text + 1]
        while head < len(heads.owners) and heads.owners[head] == text:
            head += 1
        if first == head:
            filled = _put(found, filled, text, begin, end, -1)
            continue
        if not _blank(codes, begin, heads.begins[first], seen):
            filled = _put(found, filled, text, begin, heads.begins[first], -1)
        for one in range(first, head):
            above, level = one - 1 if one > first else -1, heads.levels[one]
            while above >= 0 and heads.levels[above] >= level:
                above = parents[above]
            parents[one] = above
            stop = heads.begins[one + 1] if one + 1 < head else end
            follows = heads.levels[one + 1] if one + 1 < head else 0
            if not _blank(codes, heads.ends[one], stop, seen):
                filled = _put(found, filled, text, heads.ends[one], stop, one)
            elif follows <= level:
                filled = _put(found, filled, text, heads.begins[one], heads.ends[one], above)
    return filled


@compiled_bare
def _blank(codes: UInt32, at: int, end: int, seen: Bool) -> bool:
    """Whether nothing is seen there."""
    while at < end:
        if seen[codes[at]]:
            return False
        at += 1
    return True


@compiled_bare
def _put(found: Int64, filled: int, text: int, begin: int, end: int, head: int) -> int:
    found[0, filled], found[1, filled] = text, begin
    found[2, filled], found[3, filled] = end, head
    return filled + 1
