"""Pairs of queries and passages by the part that they lie in, and runs of parts with enough."""

from collections import Counter
from collections.abc import Mapping, Sequence

from shardrank.core.units import Done
from shardrank.version.sizing import pairs_per_unit


def count_pairs(dones: Sequence[Done], fact: str = "pairs") -> Counter[int]:
    """Pairs by part, over the markers of all blocks."""
    pairs: Counter[int] = Counter()
    for done in dones:
        pairs.update({int(part): count for part, count in done.facts[fact].items()})
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
