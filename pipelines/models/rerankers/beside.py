"""What an index has that decides a reranker's card beside its own settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shardrank.core.cards import ColumnCard


@dataclass(frozen=True)
class HeldColumn:
    """A column: the card of what made it, the sha256 of its codec, and what vouches for the counts
    of its words; each "" where it has none."""

    card: ColumnCard
    codec: str = ""
    counts: str = ""


@dataclass(frozen=True)
class Beside:
    """An index, as rerankers are read beside it.

    Attributes:
        halve: whether dtype = "auto" may mean bf16.
        columns: that it has, by name.
    """

    halve: bool = False
    columns: Mapping[str, HeldColumn] = field(default_factory=dict)
