"""Parts of a column of token vectors: how queries of many vectors are compared with all of their
passages, or with some."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pyarrow as pa

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import InputError
from shardrank.core.schemas import HITS
from shardrank.core.token_vectors import TokenVectors, one_array, row_ends
from shardrank.core.topk import Best
from shardrank.index.blocks import PartBlock
from shardrank.index.maxsim import (
    CodedTokens,
    Passages,
    StoredTokens,
    maxsim_of_column,
    maxsim_scores,
)
from shardrank.index.nearest import NearPairs
from shardrank.index.refine import ScoredPart

#: Pairs that are scored at once, and components of passages that are copied at once: 128 MiB.
_PAIRS, _COPIED = 1 << 20, 1 << 26


@dataclass(frozen=True, eq=False)
class TokenPart:
    """One part's rows and their token vectors, as they are stored.

    Attributes:
        rows: its documents.
        column: List<FixedSizeList<fp16 or fp32>[d]> or List<FixedSizeBinary[width]>, a row a row.
        codec: what the column's codes are of; None: it holds vectors.
    """

    rows: PartBlock
    column: pa.Array
    codec: bytes | None

    @cached_property
    def ends(self) -> Int64:
        """int64[rows + 1], where each row's tokens begin."""
        return row_ends(self.column)

    @property
    def searched(self) -> Int64:
        """int64[n]: the rows that are live and have tokens."""
        return np.flatnonzero(self.rows.live & (np.diff(self.ends) > 0))

    def scored(self, queries: TokenVectors) -> ScoredPart:
        """By MaxSim of queries that have tokens, and rows that have."""
        return ScoredPart(self.rows, partial(self._score, queries))

    def _score(self, queries: TokenVectors, query: Int32, rows: Int64) -> Float32:
        whole = pa.chunked_array([self.column])
        return maxsim_of_column(queries, whole, self.codec, query, rows.astype(np.int32))

    def pieces(self, dim: int) -> Iterator[tuple[Int64, Passages]]:
        """Rows that can be found, as many as are copied at once, and their token vectors."""
        rows = self.searched
        sizes = np.diff(self.ends)[rows] * max(1, dim)
        piece = np.cumsum(sizes) // _COPIED
        for number in np.unique(piece):
            mine = rows[piece == number]
            taken = one_array(self.column.take(pa.array(mine)))
            yield mine, CodedTokens.of(taken, self.codec) if self.codec else StoredTokens.of(taken)


def near_tokens(
    queries: TokenVectors, part: TokenPart, k: int, floor: Float32
) -> Iterator[NearPairs]:
    """Pairs that hold each query's k best documents of a part by MaxSim, and few others, ascending
    by (query, row); some queries at a time.

    All passages are there that score no less than the k-th best document does, but for those under
    float32[Q], the floor.

    Raises:
        InputError: a query is not finite.
    """
    check_token_queries(queries)
    asking = np.flatnonzero(np.diff(queries.ends) > 0)
    for rows, tokens in part.pieces(queries.vectors.shape[1]):
        firsts = np.flatnonzero(np.diff(part.rows.documents[rows], prepend=-1))
        step = max(1, _PAIRS // len(rows))
        for begin in range(0, len(asking), step):
            some = asking[begin : begin + step]
            query = np.repeat(some, len(rows))
            place = np.tile(np.arange(len(rows)), len(some))
            scores = maxsim_scores(queries, tokens, query, place).reshape(len(some), len(rows))
            least = np.maximum(floor[some], _last_of_best(scores, firsts, k))
            mine, near = np.nonzero(~(scores < least[:, None]))
            yield NearPairs(some[mine], rows[near], scores[mine, near])


def _last_of_best(scores: Float32, firsts: Int64, k: int) -> Float32:
    """float32[q]: the k-th best of documents, which begin at these columns of float32[q, rows];
    -inf where there are fewer."""
    if len(firsts) <= k:
        return np.full(len(scores), -np.inf, np.float32)
    best = np.maximum.reduceat(scores, firsts, axis=1)
    last: Float32 = np.partition(best, -k, axis=1)[:, -k]
    return last


def sweep_tokens(queries: TokenVectors, parts: Iterable[TokenPart], k: int) -> pa.Table:
    """The k best documents over all parts by MaxSim, loaded one at a time: HITS in the total order.

    Raises:
        InputError: a query is not finite.
    """
    best = Best(queries.rows, k)
    for part in parts:
        for near in near_tokens(queries, part, k, best.floor):
            hits = part.rows.hits(near.queries, near.rows, near.scores, k)
            best.add(pa.concat_tables([HITS.empty_table(), hits]))
    return best.table()


def check_token_queries(queries: TokenVectors) -> None:
    """Raises InputError where a query's vector is not finite."""
    wrong = np.flatnonzero(~np.isfinite(queries.vectors).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(queries.vectors)} token vectors of queries are not finite, "
            f"first {wrong[0]}.",
            "Look at the text of that query and at the encoder's dtype.",
        )
