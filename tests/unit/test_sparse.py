"""Sparse rows: to Arrow and back, taken and joined, against dictionaries."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import IntegrityError
from shardrank.core.sparse import SparseRows, joined

Row = dict[int, int]
ROWS = st.lists(st.dictionaries(st.integers(0, 2**64 - 1), st.integers(1, 2048), max_size=5))


def rows_of(vectors: list[Row]) -> SparseRows:
    ends = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
    terms = [term for row in vectors for term in sorted(row)]
    weights = [row[term] for row in vectors for term in sorted(row)]
    return SparseRows(ends, np.array(terms, np.uint64), np.array(weights, np.float32))


def vectors_of(rows: SparseRows) -> list[Row]:
    pairs = list(zip(rows.terms.tolist(), rows.weights.tolist(), strict=True))
    return [dict(pairs[rows.ends[n] : rows.ends[n + 1]]) for n in range(rows.rows)]


@given(ROWS, ROWS)
def test_there_and_back_in_chunks_and_slices(one: list[Row], other: list[Row]) -> None:
    arrays = [rows_of(each).array(pa.uint64(), pa.uint16()) for each in (one, other)]
    column = pa.chunked_array(arrays)
    assert vectors_of(SparseRows.of(column)) == one + other
    assert vectors_of(SparseRows.of(column.slice(1))) == (one + other)[1:]


@given(ROWS, st.data())
def test_taken_and_joined(vectors: list[Row], data: st.DataObject) -> None:
    rows = rows_of(vectors)
    wanted = data.draw(st.lists(st.sampled_from(range(len(vectors))))) if vectors else []
    assert vectors_of(rows.taken(np.array(wanted, np.int64))) == [vectors[n] for n in wanted]
    assert vectors_of(joined([rows, rows_of(vectors[::-1])])) == vectors + vectors[::-1]


def test_joined_of_nothing() -> None:
    assert joined([]).rows == 0


@pytest.mark.parametrize("terms", [[2, 1], [1, 1]])
def test_a_row_whose_terms_do_not_ascend_is_refused(terms: list[int]) -> None:
    rows = SparseRows(np.array([0, 2]), np.array(terms, np.uint64), np.ones(2, np.float32))
    with pytest.raises(IntegrityError, match="ascend"):
        SparseRows.of(pa.chunked_array([rows.array(pa.uint64(), pa.float32())]))


def test_a_row_may_begin_below_the_one_before() -> None:
    vectors: list[Row] = [{7: 1}, {}, {3: 1, 9: 2}, {}]
    assert vectors_of(rows_of(vectors)) == vectors
    column = pa.chunked_array([rows_of(vectors).array(pa.uint32(), pa.float16())])
    assert vectors_of(SparseRows.of(column)) == vectors
