"""Token vectors as a column, and as Parquet."""

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.arrow_columns import vector_column
from shardrank.core.errors import IntegrityError
from shardrank.core.schemas import column_schema
from shardrank.core.token_vectors import TokenVectors, lists, vector_lists
from shardrank.corpus.parquet_bytes import decode_table, encode_table

ENDS = np.array([0, 3, 3, 4, 9])
VECTORS = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float16)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32()])
def test_a_column_and_back(kind: pa.DataType) -> None:
    given = TokenVectors(ENDS, VECTORS.astype(np.float32))
    column = given.array(kind)
    assert column.type == pa.list_(pa.list_(kind, 6))
    found = TokenVectors.of(column)
    assert (found.rows, found.vectors.dtype) == (4, np.float32)
    np.testing.assert_array_equal(found.vectors, given.vectors)
    np.testing.assert_array_equal(found.text(3), given.vectors[4:])
    assert found.text(1).shape == (0, 6)


def test_slices_and_chunks() -> None:
    column = vector_lists(ENDS, VECTORS)
    found = TokenVectors.of(column[2:])
    assert found.ends.tolist() == [0, 1, 6]
    np.testing.assert_array_equal(found.vectors, VECTORS[3:])
    both = TokenVectors.of(pa.chunked_array([column[2:], column[:2]]))
    assert both.ends.tolist() == [0, 1, 6, 9, 9]
    np.testing.assert_array_equal(both.vectors, np.concatenate([VECTORS[3:], VECTORS[:3]]))
    assert TokenVectors.of(pa.chunked_array([], column.type)).vectors.shape == (0, 6)


def test_what_holds_no_token_vectors_is_refused() -> None:
    with pytest.raises(IntegrityError, match="no token vectors"):
        TokenVectors.of(vector_column(VECTORS))
    with pytest.raises(IntegrityError, match="1 rows or tokens without a value"):
        TokenVectors.of(vector_lists(ENDS, VECTORS, np.array([False, False, True, False])))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_parquet_gives_them_back(kind: type) -> None:
    column = vector_lists(ENDS, VECTORS.astype(kind))
    table = pa.table([column], column_schema(column.type))
    data = encode_table(table)
    assert decode_table(data).equals(table)
    assert decode_table(data, ["vector"]).schema == table.schema
    assert decode_table(encode_table(table[1:3])).equals(table[1:3])
    assert decode_table(encode_table(table[:0])).equals(table[:0])
    chunked = pa.concat_tables([table[:1], table[1:]])
    assert encode_table(chunked) == data


def test_parquet_gives_codes_back() -> None:
    codes = pa.array([bytes([n] * 5) for n in range(9)], pa.binary(5))
    column = lists(ENDS, codes)
    table = pa.table([column], column_schema(column.type))
    assert decode_table(encode_table(table)).equals(table)
