"""Sparse vectors, as BM25 and SPLADE make them: a few terms of very many, each with a weight."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Float32, Int64, UInt64
from shardrank.core.errors import IntegrityError


@dataclass(frozen=True, eq=False)
class SparseRows:
    """n sparse vectors, row behind row.

    Attributes:
        ends: int64[n + 1], where each row begins; the last is where all end.
        terms: uint64[m], ascending within a row, each once.
        weights: float32[m].
    """

    ends: Int64
    terms: UInt64
    weights: Float32

    @property
    def rows(self) -> int:
        return len(self.ends) - 1

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "SparseRows":
        """From a column List<Struct<term: unsigned integer, weight: number>>.

        Raises:
            IntegrityError: a row's terms do not ascend.
        """
        array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        pairs = array.flatten()
        terms, weights = (pairs.field(name).to_numpy() for name in ("term", "weight"))
        lengths = np.diff(array.offsets.to_numpy())
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        rows = cls(ends, terms.astype(np.uint64, copy=False), weights.astype(np.float32))
        if not rows._ascending():
            raise IntegrityError(
                "A column of sparse vectors has rows whose terms do not ascend.",
                "Its file was not written by shardrank: index again.",
            )
        return rows

    def array(self, term: pa.DataType, weight: pa.DataType) -> pa.ListArray:
        """List<Struct<term, weight>> in these types, of which `of` makes the same rows."""
        columns = [pa.array(self.terms.astype(term.to_pandas_dtype()), term)]
        columns.append(pa.array(self.weights.astype(weight.to_pandas_dtype()), weight))
        fields = [
            pa.field("term", term, nullable=False),
            pa.field("weight", weight, nullable=False),
        ]
        pairs = pa.StructArray.from_arrays(columns, fields=fields)
        offsets = pa.array(self.ends.astype(np.int32))
        return pa.ListArray.from_arrays(offsets, pairs, type=pa.list_(pairs.type))

    def taken(self, rows: Int64) -> "SparseRows":
        """Some rows, in the order given."""
        if np.array_equal(rows, np.arange(self.rows)):
            return self
        lengths = np.diff(self.ends)[rows]
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        places = np.arange(ends[-1]) + np.repeat(self.ends[:-1][rows] - ends[:-1], lengths)
        return SparseRows(ends, self.terms[places], self.weights[places])

    def _ascending(self) -> bool:
        rises = self.terms[1:] > self.terms[:-1]
        starts = self.ends[1:-1]
        rises[starts[(starts > 0) & (starts < len(self.terms))] - 1] = (
            True  # a new row may begin low
        )
        return bool(rises.all())


def strongest(rows: SparseRows, most: int | None) -> SparseRows:
    """The terms with the largest weights, so many of each row at most; of two with one weight the
    lower one."""
    lengths = np.diff(rows.ends)
    if most is None or lengths.max(initial=0) <= most:
        return rows
    row = np.repeat(np.arange(rows.rows), lengths)
    order = np.lexsort((rows.terms, -rows.weights, row))
    place = np.arange(len(row)) - np.repeat(rows.ends[:-1], lengths)
    kept = np.sort(order[place < most])
    ends = np.concatenate([[0], np.cumsum(np.minimum(lengths, most), dtype=np.int64)])
    return SparseRows(ends, rows.terms[kept], rows.weights[kept])


def added(row: Int64, terms: UInt64, weights: Float32, rows: int) -> SparseRows:
    """As `folded`, where the weights of equal terms are added up."""
    return folded(row, terms, weights, rows, np.add)


def folded(row: Int64, terms: UInt64, weights: Float32, rows: int, by: np.ufunc) -> SparseRows:
    """So many rows from terms in any order: equal ones of a row are one, whose weights become one
    by a function of two, such as their sum or maximum, in the order given.

    Args:
        row: int64[m], whose each term is.
        terms: uint64[m].
        weights: float32[m].
        rows: how many.
        by: np.add or np.maximum.
    """
    order = np.lexsort((terms, row))
    row, terms, weights = row[order], terms[order], weights[order]
    first = np.ones(len(row), np.bool_)
    first[1:] = (row[1:] != row[:-1]) | (terms[1:] != terms[:-1])
    starts = np.flatnonzero(first)
    sums = by.reduceat(weights, starts) if len(starts) else weights
    ends = np.searchsorted(row[starts], np.arange(rows + 1)).astype(np.int64)
    return SparseRows(ends, terms[starts], sums.astype(np.float32))


def joined(blocks: "list[SparseRows]") -> SparseRows:
    """The rows of all blocks, one behind the other."""
    if not blocks:
        return SparseRows(np.zeros(1, np.int64), np.empty(0, np.uint64), np.empty(0, np.float32))
    starts = np.cumsum([0, *(block.ends[-1] for block in blocks)], dtype=np.int64)
    pieces = zip(blocks, starts, strict=False)
    ends: npt.NDArray[np.int64] = np.concatenate(
        [[0], *(block.ends[1:] + start for block, start in pieces)]
    )
    terms = np.concatenate([block.terms for block in blocks])
    return SparseRows(ends, terms, np.concatenate([block.weights for block in blocks]))
