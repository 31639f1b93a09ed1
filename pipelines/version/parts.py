"""A version's parts: pieces of the corpus, and what a version says of them."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass

from shardrank.core.files import FileRef
from shardrank.core.papers import files_in


@dataclass(frozen=True)
class Counts:
    """How much of something is live: documents, their passages, and the passages' tokens."""

    documents: int = 0
    passages: int = 0
    tokens: int = 0
    truncated: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class LengthClass:
    """How many passages have so many tokens, or more but fewer than the next class."""

    tokens: int
    passages: int


@dataclass(frozen=True)
class StoredColumn:
    """A value for each passage of a part, in a file beside it.

    Attributes:
        file: one row a passage.
        spread: of vectors: 1 minus the length of the mean of their directions, 0 where all point
            the same way; None of what is no vector.
        mapped: whether it comes out of the version's map, from the column of the encoder before.
    """

    file: FileRef
    spread: float | None
    mapped: bool = False


@dataclass(frozen=True)
class Part:
    """An immutable piece of the corpus.

    Attributes:
        id: names its passages' content.
        passages: PASSAGES.
        keys: PART_KEYS, what tonight's corpus is compared with.
        columns: by name; a part may lack one.
        deleted: the bitmap of rows that are never found (shardrank.version.liveness); None: all are
            live.
        live: what is left of it.
        lengths: its passages, deleted ones too, by token count, ascending.
        pictures: PICTURES; None: no passage has one.
    """

    id: str
    passages: FileRef
    keys: FileRef
    columns: Mapping[str, StoredColumn]
    deleted: FileRef | None
    live: Counts
    lengths: tuple[LengthClass, ...]
    pictures: FileRef | None = None

    @property
    def rows(self) -> int:
        return self.passages.rows

    @property
    def files(self) -> list[FileRef]:
        return list(files_in(self))
