"""Rows of a source file, before anything is judged."""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shardrank.core.arrays import Bool, Int64
from shardrank.core.settings import CorpusSettings


class Elsewhere:
    """In place of a picture that a row only names: nothing that data names is ever opened."""


class SourceRow(NamedTuple):
    """A row's number (see Slice) and six values of any type, None where absent.

    `problem` is a reason of `shardrank.corpus.validate.Reason` where the row could not be read,
    else empty. `names` are the keys of a JSON row; of Parquet the schema says them once for all.
    """

    row: int
    doc_id: Any
    title: Any
    text: Any
    problem: str = ""
    tombstone: Any = None
    order: Any = None
    names: Set[str] = frozenset()
    picture: Any = None


@dataclass(frozen=True, eq=False)
class Spans:
    """n texts of UTF-8 in memory.

    Attributes:
        held: what keeps their bytes there.
        begins, ends: int64[n], the addresses where each begins and ends.
    """

    held: object
    begins: Int64
    ends: Int64

    @classmethod
    def of(cls, data: npt.NDArray[np.uint8], begins: Int64, ends: Int64) -> "Spans":
        """Texts data[begins[i] : ends[i]]."""
        at = data.ctypes.data
        return cls(data, begins + at, ends + at)


class Scratch:
    """Memory that is used again and again: the system clears what it gives anew."""

    def __init__(self) -> None:
        self._held = np.empty(0, np.uint8)

    def bytes(self, size: int) -> npt.NDArray[np.uint8]:
        """uint8[size] at least, which hold anything; what was given before is lost."""
        if len(self._held) < size:
            self._held = np.empty(size + size // 4, np.uint8)
        return self._held


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Some rows of a slice, as bytes where they could be read so; until the next are asked for.

    Attributes:
        numbers: int64[n] of the rows; blank lines, which are none, may have one.
        ids, titles, texts: of n rows each.
        read: bool[n], where the three are all that there is to say of a row; a null is empty.
        rows: those of the rows that are asked for, bool[n], in order.
        checked: whether what was read is UTF-8 for sure.
    """

    numbers: Int64
    ids: Spans
    titles: Spans
    texts: Spans
    read: Bool
    rows: Callable[[Bool], Iterator[SourceRow]]
    checked: bool = True


def are_plain(columns: CorpusSettings) -> bool:
    """Whether id, title and text say all of a row: all differ, no column orders rows, and none
    holds pictures."""
    names = {columns.id, columns.title, columns.text}
    others = columns.order or columns.image
    return len(names) == 3 and columns.tombstone not in names and not others


def unread(numbers: Int64, rows: Callable[[Bool], Iterator[SourceRow]]) -> RowBatch:
    """Rows of which none is read as bytes."""
    nothing = np.zeros(len(numbers), np.int64)
    spans = Spans(None, nothing, nothing)
    return RowBatch(numbers, spans, spans, spans, np.zeros(len(numbers), np.bool_), rows)
