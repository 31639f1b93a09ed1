"""What opening a shard asks for, and what it gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.index.bm25 import Bm25
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.open_shards import SearchedShard


@dataclass(frozen=True)
class Effort:
    """How hard to look, and by which rule.

    Attributes:
        k: documents kept.
        nprobe, depth: lists probed and documents refined in each shard; both 0: exact search.
        bm25: what makes weights of counted words; None: they are weights.
    """

    k: int
    nprobe: int = 0
    depth: int = 0
    bm25: Bm25 | None = None


@dataclass(frozen=True)
class Opening:
    """A shard of an index, where it lies, how hard to look in it, the components of a query (those
    of its vector, or of all its token vectors; 0: it is sparse), bytes for the queries that are
    searched at once, and torch's name of the device that they are searched on."""

    index: Workspace
    shard: SearchedShard
    how: Effort
    dim: int
    memory: int
    device: str


class Opened(Protocol):
    """A shard that is ready to be searched, any number of times."""

    @property
    def at_once(self) -> int:
        """Queries that memory has room for."""

    def read(self, workspace: Workspace, files: Sequence[FileRef]) -> Any:
        """The vectors of these files of queries, as `hits` wants them."""

    def hits(self, queries: Any, starts: Sequence[int]) -> Iterator[pa.Table]:
        """For each run of queries [starts[i], starts[i + 1]): HITS, counted from its start."""
