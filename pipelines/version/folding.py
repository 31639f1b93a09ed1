"""Which parts and shards are rewritten: arithmetic over sizes, nothing is read.

Every night adds a few small parts and a small shard, and leaves deleted rows in old ones. Left
alone, a search would open ever more files and score ever more dead rows. So parts with too many
deleted rows are rewritten, and as soon as `fold` parts (or shards) of like size have gathered they
become one, as in a log-structured merge tree (O'Neil et al. 1996): a passage is copied about
log_fold(N) times in its life, and there are fewer than fold · log_fold(N) small pieces.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shardrank.core.index_settings import CompactSettings

#: Pictures of a part, or of a block of queries, take so many bytes, and one picture more: a worker
#: holds them all.
PICTURE_BYTES = 64 << 20


@dataclass(frozen=True)
class Limits:
    """How large parts may get, and when pieces are rewritten.

    Attributes:
        part_size: passages in a full part.
        max_deleted: a part with a larger share of deleted rows is rewritten.
        fold: so many small pieces, parts or shards, of like size become one; None: any two small
            ones do.
    """

    part_size: int
    max_deleted: float
    fold: int | None

    @classmethod
    def nightly(cls, settings: CompactSettings, part_size: int) -> "Limits":
        """What the settings ask for."""
        return cls(part_size, settings.max_deleted, settings.fold)

    @classmethod
    def full(cls, part_size: int) -> "Limits":
        """Rewrite every part with a deleted row, and fold all that is small."""
        return cls(part_size, 0.0, None)


@dataclass(frozen=True)
class Size:
    """A part's rows, how many of them are live, and the bytes of its pictures."""

    rows: int
    live: int
    pictures: int = 0


def plan_rewrites(parts: Sequence[Size], limits: Limits) -> list[list[int]]:
    """Groups of parts, each of which becomes one part (none, where nothing in it is live).

    Args:
        parts: sizes in the version's order.
        limits: when to rewrite.

    Returns:
        Ascending ordinals; a part is in at most one group, and a group's live rows stay within
        part_size, and its pictures within PICTURE_BYTES, unless it is a single part.
    """
    sparse = {n for n, part in enumerate(parts) if _deleted(part) > limits.max_deleted}
    small = {n: p.live for n, p in enumerate(parts) if _is_small(p, limits.part_size)}
    chosen = sorted(sparse | crowded(small, limits.fold))
    groups = _fill(chosen, parts, limits.part_size)
    return [group for group in groups if len(group) > 1 or group[0] in sparse]


def _is_small(part: Size, part_size: int) -> bool:
    """Whether another of its size fits beside it."""
    return 0 < part.live <= part_size // 2 and part.pictures <= PICTURE_BYTES // 2


def _deleted(part: Size) -> float:
    """The share of deleted rows; more than all where nothing is live, so that it always goes."""
    return 1 - part.live / part.rows if part.live else 2.0


def plan_folds(shards: Mapping[int, int], shard_passages: int, fold: int | None) -> set[int]:
    """Which shards are taken apart, to be built anew together: small ones of like size.

    Args:
        shards: live passages of each shard, by its number.
        shard_passages: passages in a full shard.
        fold: as of `Limits`.
    """
    small = {n: live for n, live in shards.items() if live <= shard_passages // 2}
    return crowded(small, fold)


def crowded(sizes: Mapping[int, int], fold: int | None) -> set[int]:
    """The pieces of every class of like size that has `fold` members or more.

    A class spans a factor of `fold`. What a crowded class becomes belongs to the next one, so
    smaller classes are folded along with the largest crowded one. Without `fold` all are one class.
    """
    if fold is None:
        return set(sizes) if len(sizes) > 1 else set()
    classes: defaultdict[int, list[int]] = defaultdict(list)
    for number, size in sizes.items():
        classes[int(math.log(max(size, 1), fold) + 1e-9)].append(number)
    full = [size_class for size_class, members in classes.items() if len(members) >= fold]
    if not full:
        return set()
    folded: Iterable[list[int]] = (m for c, m in classes.items() if c <= max(full))
    return {number for members in folded for number in members}


def _fill(chosen: Sequence[int], parts: Sequence[Size], limit: int) -> list[list[int]]:
    """Groups in order, each filled as far as the limits allow."""
    groups: list[list[int]] = []
    held, pictures = limit + 1, 0
    for part, number in ((parts[n], n) for n in chosen):
        if held + part.live > limit or pictures + part.pictures > PICTURE_BYTES:
            groups.append([])
            held = pictures = 0
        groups[-1].append(number)
        held, pictures = held + part.live, pictures + part.pictures
    return groups
