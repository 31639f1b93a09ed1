"""BM25: what a document's count of a term is worth, and a term; and counting terms.

The formula is the one that Kamphuis et al. call Lucene's, accurate ("Which BM25 do you mean?",
ECIR 2020): idf · tf / (tf + k1 · (1 - b + b · length / average)). Its idf goes to the query.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardrank.core.arrays import Float32, Int64, UInt64
from shardrank.core.sparse import SparseRows


@dataclass(frozen=True)
class Bm25:
    """The rule that makes weights of counts.

    Attributes:
        k1: how late further occurrences of a term stop counting, at least 0.
        b: how much a passage's length counts, from 0 to 1.
        average: of the passages' lengths.
    """

    k1: float
    b: float
    average: float

    def norms(self, lengths: Float32) -> Float32:
        """float32[n] that are added to each count tf, which is divided by the sum: what a passage
        of this length adds, reckoned in float64."""
        shares = lengths.astype(np.float64) / (self.average or 1.0)
        norms: Float32 = (self.k1 * (1 - self.b + self.b * shares)).astype(np.float32)
        return norms

    def weighed(self, rows: SparseRows) -> SparseRows:
        """What the counts of some passages are worth, as an inverted index has it."""
        sums = np.concatenate([[0], np.cumsum(rows.weights, dtype=np.float64)])
        sizes, lengths = np.diff(rows.ends), np.diff(sums[rows.ends]).astype(np.float32)
        norms = np.repeat(self.norms(lengths), sizes)
        return SparseRows(rows.ends, rows.terms, rows.weights / (rows.weights + norms))


def idf(passages: int, df: Int64) -> Float32:
    """float32[n]: the worth of terms that occur in so many of all passages."""
    worth: Float32 = np.log1p((passages - df + 0.5) / (df + 0.5)).astype(np.float32)
    return worth


def count_terms(rows: SparseRows) -> tuple[UInt64, Int64]:
    """The distinct terms uint64[T], ascending, and int64[T], in how many rows each is."""
    terms, counts = np.unique(rows.terms, return_counts=True)
    return terms, counts.astype(np.int64)


def add_counts(pairs: Sequence[tuple[UInt64, Int64]]) -> tuple[UInt64, Int64]:
    """Counts of the same terms added up: as `count_terms` gives of all rows together."""
    terms = np.concatenate([np.empty(0, np.uint64), *(terms for terms, _ in pairs)])
    counts = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in pairs)])
    order = np.argsort(terms, kind="stable")
    terms, counts = terms[order], counts[order]
    starts = np.flatnonzero(np.append(True, terms[1:] != terms[:-1])[: len(terms)])
    return terms[starts], np.add.reduceat(counts, starts) if len(starts) else counts
