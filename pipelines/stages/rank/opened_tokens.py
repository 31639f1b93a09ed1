"""Shards of token vectors, ready to be searched; see `opened.py`."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from shardrank.core.files import FileRef
from shardrank.core.token_vectors import TokenVectors
from shardrank.core.topk import split
from shardrank.stages.rank.opening import Opening
from shardrank.stages.run.workspace import Workspace
from shardrank.stages.shared.open_shards import document_numbers, passages_a_document
from shardrank.stages.shared.open_tokens import load_token_parts, open_plaid, read_tokens
from shardrank.stages.shared.part_blocks import offsets
from shardrank.version.sizing import REFINED_BYTES, fill, queries_at_once

if TYPE_CHECKING:
    from shardrank.index.documents import ShardHits


class ExactTokens:
    """A shard without a file: all of its passages are compared (protocol: Opened)."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    @property
    def at_once(self) -> int:
        return queries_at_once(self._opening.memory, self._opening.how.k, 0, self._opening.dim)

    def read(self, workspace: Workspace, files: Sequence[FileRef]) -> TokenVectors:
        return read_tokens(workspace, files)

    def hits(self, queries: TokenVectors, starts: Sequence[int]) -> Iterator[pa.Table]:
        from shardrank.index.token_parts import sweep_tokens  # brings numba

        parts = load_token_parts(self._opening.index, self._opening.shard)
        return split(sweep_tokens(queries, parts, self._opening.how.k), starts)


class ProbedTokens:
    """A shard in memory: centroids choose passages, which are then scored (protocol: Opened)."""

    def __init__(self, opening: Opening) -> None:
        from shardrank.index.documents import Reach  # brings numba

        self._opening = opening
        index, shard, how = opening.index, opening.shard, opening.how
        self._reach = Reach(how.nprobe, how.depth, shard.least)
        self._search = open_plaid(index, shard, document_numbers(index, shard.parts))

    @property
    def at_once(self) -> int:
        opening = self._opening
        refined = opening.how.depth * passages_a_document(opening.shard.parts)
        return queries_at_once(opening.memory, opening.how.k, refined, opening.dim)

    def read(self, workspace: Workspace, files: Sequence[FileRef]) -> TokenVectors:
        return read_tokens(workspace, files)

    def hits(self, queries: TokenVectors, starts: Sequence[int]) -> Iterator[pa.Table]:
        """Those of as many runs are refined at once as memory has room for: at least one's."""
        from shardrank.index.token_parts import check_token_queries  # brings numba

        check_token_queries(queries)
        found = self._search.find(queries, self._reach)
        most = max(0, self._opening.memory - queries.vectors.nbytes) // REFINED_BYTES
        for run in fill(np.diff(found.ends[starts]).tolist(), most):
            bounds = [starts[run[0]], *(starts[n + 1] for n in run)]
            yield from self._refined(queries, found, bounds)

    def _refined(
        self, queries: TokenVectors, found: "ShardHits", bounds: Sequence[int]
    ) -> Iterator[pa.Table]:
        from shardrank.index.refine import refine_parts  # brings numba

        opening, first, last = self._opening, bounds[0], bounds[-1]
        asked, hits = queries.of_rows(first, last), found.of(first, last)
        loaded = load_token_parts(opening.index, opening.shard)
        scored = (part.scored(asked) for part in loaded)
        refined = refine_parts(hits, scored, offsets(opening.shard.parts))
        for begin, end in pairwise(bounds):
            yield refined.best(begin - first, end - first, opening.how.k)
