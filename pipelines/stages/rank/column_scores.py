"""How pairs are scored by a column, for each family of rerankers that reads one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from shardrank.core.arrays import Float32, Int32
from shardrank.core.sparse import SparseRows
from shardrank.index.bm25 import Bm25
from shardrank.index.maxsim import StoredTokens, maxsim_of_column
from shardrank.index.term_pairs import terms_of_column


@dataclass(frozen=True)
class Reading:
    """What a column's values are read by.

    Attributes:
        codec: what its codes were made by; none: it holds values.
        rule: what weights its counts; none: it holds none.
    """

    codec: bytes | None
    rule: Bm25 | None


class ColumnScores(Protocol):
    """Scores of pairs by a column's values of both."""

    @property
    def empty(self) -> str:
        """What may be the matter where no pair has a score; "": nothing that is known."""

    def queries(self, values: pa.Array) -> Any:
        """The queries' values, as `scores` takes them."""

    def scores(
        self, asked: Any, values: pa.ChunkedArray, left: Int32, rows: Int32, reading: Reading
    ) -> Float32:
        """float32[m], of pairs (asked[left[i]], values[rows[i]]); NaN where there is none. A pair
        has the same bits in any batch."""


@dataclass(frozen=True)
class TokenScores:
    """MaxSim of token vectors (protocol: ColumnScores)."""

    empty: str = "A passage without tokens has no score."

    def queries(self, values: pa.Array) -> StoredTokens:
        return StoredTokens.of(values)

    def scores(
        self,
        asked: StoredTokens,
        values: pa.ChunkedArray,
        left: Int32,
        rows: Int32,
        reading: Reading,
    ) -> Float32:
        return maxsim_of_column(asked, values, reading.codec, left, rows)


@dataclass(frozen=True)
class TermScores:
    """Products of the weights of terms that both have (protocol: ColumnScores)."""

    empty: str = ""

    def queries(self, values: pa.Array) -> SparseRows:
        return SparseRows.of(pa.chunked_array([values]))

    def scores(
        self, asked: SparseRows, values: pa.ChunkedArray, left: Int32, rows: Int32, reading: Reading
    ) -> Float32:
        return terms_of_column(asked, values, reading.rule, left, rows)


def column_scores(family: str) -> ColumnScores:
    """Of a family of rerankers that reads a column."""
    return _FAMILIES[family]()


_FAMILIES: dict[str, Callable[[], ColumnScores]] = {"maxsim": TokenScores, "terms": TermScores}
