"""Pairs of queries and passages by the part that they lie in: counted, in files of neighbouring
parts, and in runs of parts with enough of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.units import Unit
from shardrank.stages.run.workspace import Workspace
from shardrank.version.sizing import pairs_per_unit


@dataclass(frozen=True)
class PartPairs:
    """How many pairs lie in a part."""

    part: int
    pairs: int


@dataclass(frozen=True)
class PairFile:
    """Pairs of a block in the parts from `bucket` · (parts of a bucket) on: query, part, row, and
    what else the next stage wants to know."""

    bucket: int
    pairs: FileRef


def write_buckets(
    workspace: Workspace, unit: Unit[Any], name: str, pairs: pa.Table, parts: int
) -> tuple[PairFile, ...]:
    """The rows of a table with a column part, a file for each bucket of so many parts."""
    buckets = pairs["part"].to_numpy() // parts
    order = np.argsort(buckets, kind="stable")
    numbers, starts = np.unique(buckets[order], return_index=True)
    runs = zip(numbers.tolist(), np.split(order, starts[1:]), strict=False)  # no row is a run too
    files = ((number, pairs.take(pa.array(rows))) for number, rows in runs)
    return tuple(
        PairFile(number, workspace.write_scratch(unit, f"{name}-{number:05d}.parquet", table))
        for number, table in files
    )


def files_of(files: Sequence[PairFile], ordinals: Iterable[int], parts: int) -> tuple[FileRef, ...]:
    """Those that hold pairs of some parts, by their ordinals."""
    wanted = {ordinal // parts for ordinal in ordinals}
    return tuple(file.pairs for file in files if file.bucket in wanted)


def pairs_by_part(parts: pa.ChunkedArray) -> tuple[PartPairs, ...]:
    """Of int32 ordinals of parts, one a pair."""
    return tuple(PartPairs(n, count) for n, count in sorted(Counter(parts.to_pylist()).items()))


def count_pairs(blocks: Iterable[Iterable[PartPairs]]) -> Counter[int]:
    """Pairs by part, over all blocks."""
    pairs: Counter[int] = Counter()
    for block in blocks:
        pairs.update({each.part: each.pairs for each in block})
    return pairs


def group_parts(pairs: Mapping[int, int], share: float = 1.0) -> list[list[int]]:
    """Parts in order, cut into runs as soon as a run holds `pairs_per_unit` of the pairs that are
    worked on, which are such a share of all."""
    groups: list[list[int]] = []
    held = enough = pairs_per_unit(round(sum(pairs.values()) * share)) / share
    for part in sorted(pairs):
        if held >= enough:
            groups.append([])
            held = 0
        groups[-1].append(part)
        held += pairs[part]
    return groups
