"""A query block's candidates with their teachers' scores, as arrays."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Float32, Int32, Int64, UInt64
from shardrank.core.topk import descending, pack


class Origin(IntEnum):
    """Where a candidate comes from."""

    RETRIEVED = 0
    POSITIVE = 1  # judged relevant, and not retrieved
    RANDOM = 2
    BATCH = 3


@dataclass(frozen=True)
class Scored:
    """n candidates (query, passage), the queries ascending; at most one a query and document.

    Attributes:
        query: int32[n], number in the block.
        query_key: uint64[n], drawn from the query's id: seeds what is drawn for it.
        key: uint64[n], drawn from the document's id and the passage.
        origin: int8[n], see Origin.
        rank: int32[n], by retrieval, from 1; 0 where it was not retrieved.
        retrieval: float32[n], the bi-encoder's score.
        positive: bool[n], judged relevant enough.
        judged: bool[n], judged at all.
        weak: bool[n], judged relevant, but not enough.
        score: float32[n], the teachers' together; finite.
        sketch: uint32[n, s], of the passage's tokens (see sketch.py), or none.
    """

    query: Int32
    query_key: UInt64
    key: UInt64
    origin: npt.NDArray[np.int8]
    rank: Int32
    retrieval: Float32
    positive: Bool
    judged: Bool
    weak: Bool
    score: Float32
    sketch: npt.NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.query)


def mix(keys: UInt64) -> UInt64:
    """uint64[…]: each key's image under splitmix64's finaliser, a bijection that looks random.

    Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        z = keys + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64 = z ^ (z >> np.uint64(31))
    return mixed


def runs_of(groups: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """int64[g] twice: where each run of equal values begins, and how long it is."""
    if not len(groups):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    return starts, np.diff(np.append(starts, len(groups)))


def within_runs(lengths: Int64) -> Int64:
    """int64[sum]: 0, 1, … in each of the runs, one after the other."""
    counted: Int64 = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return counted


def by_score(groups: npt.NDArray[np.integer], score: Float32, key: UInt64) -> Int64:
    """int64[n]: the rows in order of group, then the highest score first; equal scores by key.

    One column is sorted by vectors, several one by one: keys are looked at where scores tie.
    """
    packed = pack(groups, descending(score))
    order: Int64 = np.argsort(packed)
    falls = packed[order]
    same = falls[1:] == falls[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    rows = np.sort(order[tied])
    order[tied] = rows[np.lexsort((key[rows], packed[rows]))]
    return order


def rank_within(groups: npt.NDArray[np.integer], score: Float32, key: UInt64) -> Int32:
    """int32[n]: the place of each row in its run of equal groups, from 1, as `by_score` orders.
    `groups` ascend."""
    ranks = np.empty(len(groups), np.int32)
    ranks[by_score(groups, score, key)] = within_runs(runs_of(groups)[1]) + 1
    return ranks


def find(among: npt.NDArray[np.integer], wanted: npt.NDArray[np.integer]) -> Int64:
    """int64[m]: where each wanted value stands in `among`, which holds every one of them."""
    order = np.argsort(among, kind="stable")
    place: Int64 = order[np.searchsorted(among[order], wanted)]
    return place


def joined(high: npt.NDArray[np.integer], low: npt.NDArray[np.integer]) -> Int64:
    """int64[n]: two int32 arrays, none negative, as one number that sorts as the pairs do."""
    both: Int64 = (high.astype(np.int64) << 32) | low.astype(np.int64)
    return both
