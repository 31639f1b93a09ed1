"""One row of a source file, before anything is judged."""

from collections.abc import Set
from typing import Any, NamedTuple


class SourceRow(NamedTuple):
    """A row's number (see Slice) and five values of any type, None where absent.

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
