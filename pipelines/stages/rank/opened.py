"""A shard that is ready to be searched, of whichever kind its index is."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32
from shardrank.core.arrow_columns import matrix
from shardrank.core.files import FileRef
from shardrank.core.sparse import SparseRows, joined
from shardrank.core.topk import split
from shardrank.stages.rank.opened_tokens import ExactTokens, ProbedTokens
from shardrank.stages.rank.opening import Opened, Opening
from shardrank.stages.rank.row_hits import row_hits
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.open_shards import (
    document_numbers,
    finding_on,
    open_shard,
    passages_a_document,
)
from shardrank.stages.shared.part_blocks import live_positions, load_blocks, offsets
from shardrank.version.sizing import REFINED_BYTES, Kind, fill, queries_at_once

if TYPE_CHECKING:
    from shardrank.index.documents import ShardHits


def open_kind(kind: Kind, opening: Opening) -> Opened:
    """The shard, opened as its kind is."""
    return _KINDS[kind](opening)


class _Vectors:
    """What shards of dense vectors share."""

    def __init__(self, opening: Opening) -> None:
        self._index, self._parts, self._how = opening.index, opening.shard.parts, opening.how
        self._memory, self._dim = opening.memory, opening.dim
        self._device = opening.device

    @property
    def at_once(self) -> int:
        refined = self._how.depth * passages_a_document(self._parts)
        return queries_at_once(self._memory, self._how.k, refined, self._dim)

    def read(self, workspace: Workspace, files: Sequence[FileRef]) -> Float32:
        """float32[q, d]."""
        starts = list(accumulate((ref.rows for ref in files), initial=0))
        vectors = np.empty((starts[-1], self._dim), np.float32)
        for ref, (begin, end) in zip(files, pairwise(starts), strict=True):
            vectors[begin:end] = matrix(workspace.read_table(ref)["vector"])
        return vectors


class Exact(_Vectors):
    """A shard without a file: all of its vectors are compared (protocol: Opened)."""

    def hits(self, queries: Float32, starts: Sequence[int]) -> Iterator[pa.Table]:
        from shardrank.index.exact import sweep_topk  # brings numba

        blocks = load_blocks(self._index, self._parts)
        found = sweep_topk(queries, blocks, self._how.k, finding_on(self._device))
        return split(found, starts)


class Probed(_Vectors):
    """A shard in memory: it is probed, and what is found is refined (protocol: Opened)."""

    def __init__(self, opening: Opening) -> None:
        from shardrank.index.documents import Reach  # brings numba

        super().__init__(opening)
        shard, how = opening.shard, opening.how
        self._reach = Reach(how.nprobe, how.depth, shard.least)
        numbers = document_numbers(self._index, shard.parts)
        self._search = open_shard(self._index, shard, numbers, self._device)

    def hits(self, queries: Float32, starts: Sequence[int]) -> Iterator[pa.Table]:
        """Those of as many runs are refined at once as memory has room for: at least one's."""
        found = self._search.find(queries, self._reach)
        most = max(0, self._memory - queries.nbytes) // REFINED_BYTES
        for run in fill(np.diff(found.ends[starts]).tolist(), most):
            bounds = [starts[run[0]], *(starts[n + 1] for n in run)]
            yield from self._refined(queries, found, bounds)

    def _refined(
        self, queries: Float32, found: "ShardHits", bounds: Sequence[int]
    ) -> Iterator[pa.Table]:
        from shardrank.index.refine import refine  # brings numba

        first, last = bounds[0], bounds[-1]
        blocks, hits = load_blocks(self._index, self._parts), found.of(first, last)
        refined = refine(queries[first:last], hits, blocks, offsets(self._parts))
        for begin, end in pairwise(bounds):
            yield refined.best(begin - first, end - first, self._how.k)


class Inverted:
    """Postings in memory (protocol: Opened)."""

    def __init__(self, opening: Opening) -> None:
        from shardrank.index.inverted import InvertedShard  # brings numba

        self._index, self._parts, self._how = opening.index, opening.shard.parts, opening.how
        self._memory = opening.memory
        assert opening.shard.file
        data = self._index.storage.read_checked(opening.shard.file)
        self._shard: InvertedShard = InvertedShard.load(data)
        self._documents = document_numbers(self._index, self._parts)
        self._live = live_positions(self._index, self._parts)

    @property
    def at_once(self) -> int:
        return queries_at_once(self._memory, self._how.k, 0, 0)

    def read(self, workspace: Workspace, files: Sequence[FileRef]) -> SparseRows:
        return joined([SparseRows.of(workspace.read_table(ref)["vector"]) for ref in files])

    def hits(self, queries: SparseRows, starts: Sequence[int]) -> Iterator[pa.Table]:
        k, rule = self._how.k, self._how.bm25
        found = self._shard.search(queries, self._documents, self._live, k, rule)
        return split(row_hits(self._index, self._parts, found, k), starts)


_KINDS: dict[Kind, Callable[[Opening], Opened]] = {
    "exact": Exact,
    "ivfpq": Probed,
    "ivfsq8": Probed,
    "binary": Probed,
    "ivfrabitq": Probed,
    "inverted": Inverted,
    "maxsim": ExactTokens,
    "plaid": ProbedTokens,
}
