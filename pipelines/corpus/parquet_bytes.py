"""Tables of our own as Parquet bytes, with checksums. https://parquet.apache.org/docs/file-format/"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from shardrank.core.errors import IntegrityError
from shardrank.core.schemas import is_plain


def encode_table(table: pa.Table) -> bytes:
    """Parquet with page checksums: zstd, but floats as they are (they hardly get smaller).

    Equal tables give equal bytes, however they are chunked (with one version of pyarrow).
    """
    floats = [_path(field) for field in table.schema if _holds_floats(field.type)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks(),
        sink,
        compression={
            _path(field): "none" if _path(field) in floats else "zstd" for field in table.schema
        },
        use_dictionary=[field.name for field in table.schema if pat.is_string(field.type)],
        write_page_checksum=True,
    )
    return bytes(sink.getvalue().to_pybytes())


def decode_table(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table, or some of its columns; page checksums are verified.

    Raises:
        IntegrityError: the bytes are no Parquet file, a page is damaged, a column is missing, or
            the schema holds extension types, whose values could run code.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        _check_schema(file.schema_arrow, columns or [])
        return file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"A table cannot be read: {error}.", "Restore the file.") from error


def _check_schema(schema: pa.Schema, columns: Sequence[str]) -> None:
    strange = [field.name for field in schema if not is_plain(field.type)]
    if strange:
        raise IntegrityError(f"A table holds extension types in {', '.join(strange)}.", "")
    absent = [name for name in columns if name not in schema.names]
    if absent:
        raise IntegrityError(
            f"A table lacks {', '.join(absent)}; it has {', '.join(schema.names)}.", ""
        )


def _holds_floats(kind: pa.DataType) -> bool:
    nested = pat.is_list(kind) or pat.is_fixed_size_list(kind)
    return bool(pat.is_floating(kind.value_type if nested else kind))


def _path(field: pa.Field) -> str:
    """The column's path in Parquet: a list's values are at NAME.list.element."""
    nested = pat.is_list(field.type) or pat.is_fixed_size_list(field.type)
    return f"{field.name}.list.element" if nested else str(field.name)
