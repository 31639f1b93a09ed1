"""An index that is to be made, of whichever kind; and which shards of the one before stay."""

from collections.abc import Sequence
from dataclasses import dataclass

from shardrank.core.cards import dim_of
from shardrank.core.index_settings import IndexSettings
from shardrank.version.folding import Limits, plan_folds
from shardrank.version.indexes import Index, Shard
from shardrank.version.manifest import StoredEncoder
from shardrank.version.parts import Part
from shardrank.version.sizing import plan_shards


@dataclass(frozen=True)
class WantedIndex:
    """An index that is to be made.

    Attributes:
        encoder: what makes its column.
        settings: its own.
        parts: that it is to cover.
        base: the one before, which may be kept where it serves; None: there is none.
        kept: shards of it whose parts are all still there, by the places of these now.
        limits: when shards are folded.
        source: what makes the column that its own is made of; None: it is made of texts.
    """

    encoder: StoredEncoder
    settings: IndexSettings
    parts: Sequence[Part]
    base: Index | None
    kept: Sequence[Shard]
    limits: Limits
    source: StoredEncoder | None = None

    @property
    def scored(self) -> StoredEncoder:
        """What makes the vectors that score what is found: codes are scored by those that they are
        of."""
        return self.encoder if self.source is None or dim_of(self.encoder.card) else self.source

    @property
    def column(self) -> str:
        """Its name, and the index's."""
        return self.encoder.name

    @property
    def passages(self) -> int:
        """That are live."""
        return sum(part.live.passages for part in self.parts)


@dataclass(frozen=True)
class Grouping:
    """Shards that stay as they are, and the groups of parts that new ones are made of."""

    kept: Sequence[Shard]
    groups: Sequence[Sequence[int]]


def grouped(wanted: WantedIndex) -> Grouping:
    """Small shards of like size go, to be built again as one with what no shard covers yet."""
    kept = _unfolded(wanted)
    covered = {n for shard in kept for n in shard.parts}
    loose = [n for n in range(len(wanted.parts)) if n not in covered]
    rows = [wanted.parts[n].rows for n in loose]
    groups = plan_shards(rows, wanted.settings.shard_passages)
    return Grouping(kept, [[loose[n] for n in group] for group in groups])


def _unfolded(wanted: WantedIndex) -> list[Shard]:
    live = [part.live.passages for part in wanted.parts]
    sizes = {n: sum(live[p] for p in shard.parts) for n, shard in enumerate(wanted.kept)}
    covered = {p for shard in wanted.kept for p in shard.parts}
    loose = sum(rows for p, rows in enumerate(live) if p not in covered)
    folded = plan_folds(
        {**sizes, -1: loose} if loose else sizes,
        wanted.settings.shard_passages,
        wanted.limits.fold,
    )
    return [shard for n, shard in enumerate(wanted.kept) if n not in folded]
