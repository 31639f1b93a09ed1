"""Pairs of queries and passages by the part that they lie in, and runs of parts with enough."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from shardrank.version.sizing import pairs_per_unit


@dataclass(frozen=True)
class PartPairs:
    """How many pairs lie in a part."""

    part: int
    pairs: int


def pairs_by_part(parts: pa.ChunkedArray) -> tuple[PartPairs, ...]:
    """Of int32 ordinals of parts, one a pair."""
    return tuple(PartPairs(n, count) for n, count in sorted(Counter(parts.to_pylist()).items()))


def count_pairs(blocks: Iterable[Iterable[PartPairs]]) -> Counter[int]:
    """Pairs by part, over all blocks."""
    pairs: Counter[int] = Counter()
    for block in blocks:
        pairs.update({each.part: each.pairs for each in block})
    return pairs


def group_parts(pairs: Mapping[int, int]) -> list[list[int]]:
    """Parts in order, cut into runs as soon as a run holds `pairs_per_unit` pairs."""
    groups: list[list[int]] = []
    held = enough = pairs_per_unit(sum(pairs.values()))
    for part in sorted(pairs):
        if held >= enough:
            groups.append([])
            held = 0
        groups[-1].append(part)
        held += pairs[part]
    return groups
