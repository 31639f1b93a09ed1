import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shardrank.core.errors import IntegrityError
from shardrank.core.schemas import RANKINGS, column_schema, passages_schema
from shardrank.corpus.parquet_bytes import decode_table, encode_table


def vectors(rows: int, dim: int, dtype: str) -> pa.Table:
    schema = column_schema(pa.list_(pa.float16() if dtype == "fp16" else pa.float32(), dim))
    kind = np.float16 if dtype == "fp16" else np.float32
    values = np.random.default_rng(0).standard_normal(rows * dim).astype(kind)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), dim)
    return pa.Table.from_arrays([column], schema=schema)


def passages() -> pa.Table:
    rows = [
        {
            "doc_id": f"d{n}",
            "passage": 0,
            "title": "",
            "text": "é" * n,
            "content_hash": "h",
            "tokens": list(range(n)),
            "truncated": False,
        }
        for n in range(100)
    ]
    return pa.Table.from_pylist(rows, passages_schema(30_000))


@pytest.mark.parametrize(
    "table",
    [vectors(50, 8, "fp16"), vectors(50, 8, "fp32"), passages(), RANKINGS.empty_table()],
    ids=["fp16", "fp32", "passages", "empty"],
)
def test_round_trip(table: pa.Table) -> None:
    data = encode_table(table)
    found = decode_table(data)
    assert found.schema == table.schema
    assert found.equals(table)
    name = table.schema.names[0]
    assert decode_table(data, [name]).equals(table.select([name]))


def test_equal_tables_give_equal_bytes() -> None:
    table = passages()
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7)])
    assert encode_table(table) == encode_table(chunked)


def test_fp16_keeps_every_bit() -> None:
    table = vectors(20, 4, "fp16")
    before = table["vector"].combine_chunks().flatten().to_numpy()
    after = decode_table(encode_table(table))["vector"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(before.view(np.uint16), after.view(np.uint16))


def test_a_flipped_bit_in_a_page_is_found() -> None:
    data = bytearray(encode_table(vectors(500, 8, "fp32")))
    data[len(data) // 2] ^= 1
    with pytest.raises(IntegrityError, match="cannot be read"):
        decode_table(bytes(data))


def test_other_bytes_are_refused() -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        decode_table(b"not Parquet at all")


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(IntegrityError, match="lacks vectors; it has vector"):
        decode_table(encode_table(vectors(1, 4, "fp32")), ["vectors"])


def test_extension_types_are_refused() -> None:
    sink = io.BytesIO()
    column: Any = pa.array([b"0" * 16], pa.uuid())
    pq.write_table(pa.table({"a": column}), sink)
    with pytest.raises(IntegrityError, match="extension types in a"):
        decode_table(sink.getvalue())
