"""Opening a Parquet file so that only the columns asked for can fail, and memory stays bounded."""

import io
from collections.abc import Sequence
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

#: A stream reads so much of a column at once where a slice's columns are not fetched whole.
STREAM_BYTES = 8 << 20
#: The key of the footer under which the writer's Arrow schema lies, and one that says nothing.
_ARROW_SCHEMA, _NO_SCHEMA = b"ARROW:schema", b"-----:schema"
_MAGIC = b"PAR1"


def open_parquet(
    stream: BinaryIO, names: Sequence[str], rows: tuple[int, int], most: int
) -> pq.ParquetFile:
    """The file, ready to read some columns of the row groups that begin in a range of rows.

    Args:
        stream: the file's bytes, seekable.
        names: the columns.
        rows: first row, and the one behind the last.
        most: bytes of those columns that may be fetched whole, in few large requests; of more, a
            stream of STREAM_BYTES a column is read.

    Raises:
        pa.ArrowException, OSError: it is no Parquet file that pyarrow reads.
    """
    footer = read_footer(stream)
    whole = stored_bytes(footer, names, rows) <= most
    return pq.ParquetFile(
        _native(stream),
        metadata=footer,
        pre_buffer=whole,
        buffer_size=0 if whole else STREAM_BYTES,
        page_checksum_verification=True,
    )


def read_footer(stream: BinaryIO) -> pq.FileMetaData:
    """The file's metadata, without the writer's Arrow schema where that holds a type that pyarrow
    lacks, be it of a column that nobody asked for: the file's own schema says all that is needed
    (polars 2.1 writes Int128 so). Raises pa.ArrowException or OSError where it is none."""
    try:
        return pq.read_metadata(_native(stream))
    except pa.ArrowNotImplementedError:
        return _plain_footer(stream)


def _native(stream: BinaryIO) -> pa.PythonFile:
    return pa.PythonFile(cast(io.IOBase, stream), mode="r")


def row_groups(footer: pq.FileMetaData, rows: tuple[int, int]) -> list[int]:
    """The row groups that begin in a range of rows and hold any."""
    groups, begin = [], 0
    for number in range(footer.num_row_groups):
        count = footer.row_group(number).num_rows
        if count and rows[0] <= begin < rows[1]:
            groups.append(number)
        begin += count
    return groups


def stored_bytes(footer: pq.FileMetaData, names: Sequence[str], rows: tuple[int, int]) -> int:
    """Bytes in the file of some columns of some row groups."""
    paths = [footer.schema.column(n).path for n in range(footer.num_columns)]
    within = tuple(f"{name}." for name in names)
    wanted = [n for n, path in enumerate(paths) if path in names or path.startswith(within)]
    groups = [footer.row_group(number) for number in row_groups(footer, rows)]
    return sum(g.column(n).total_compressed_size for g in groups for n in wanted)


def _plain_footer(stream: BinaryIO) -> pq.FileMetaData:
    stream.seek(-8, io.SEEK_END)
    length = stream.read(4)
    stream.seek(-8 - int.from_bytes(length, "little"), io.SEEK_END)
    footer = stream.read(int.from_bytes(length, "little"))
    footer = footer.replace(_ARROW_SCHEMA, _NO_SCHEMA)
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer + length + _MAGIC))
