"""Whole lines of a JSON Lines slice, many at once."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shardrank.core.arrays import Int64
from shardrank.core.errors import InputError
from shardrank.core.settings import CorpusSettings
from shardrank.corpus.slices import Slice
from shardrank.kernels.line_loops import count_ends, find_lines
from shardrank.kernels.memory import BEHIND

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BUFFER = 1 << 20
#: Bytes of lines that are read at once, and room for the end of the last of them.
_BLOCK, _REST = 1 << 20, 1 << 16
#: JSON may spell one byte as six (\u0041); what is longer than that cannot fit the limit.
_JSON_INFLATION = 6
_LINE_SLACK = 1 << 16


@dataclass(frozen=True, eq=False)
class Lines:
    """Whole lines of a file, blank ones too.

    Attributes:
        data: uint8[...], their bytes, and BEHIND bytes at least that are of none.
        at: where in the file these begin.
        begins, ends: int64[n], of each line in them, without what ends it.
    """

    data: npt.NDArray[np.uint8]
    at: int
    begins: Int64
    ends: Int64

    @classmethod
    def of(cls, data: npt.NDArray[np.uint8], size: int, at: int) -> "Lines":
        """The lines of the first `size` bytes, of which the last may lack its end."""
        count = count_ends(data, size) + 1
        begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
        found = find_lines(data, size, begins, ends)
        return cls(data, at, begins[:found], ends[:found])

    def behind(self, number: int) -> "Lines":
        """The lines from that one on."""
        return Lines(self.data, self.at, self.begins[number:], self.ends[number:])

    def line(self, number: int) -> bytes:
        """A line's bytes, without the mark that a file may begin with."""
        begin, end = int(self.begins[number]), int(self.ends[number])
        line = self.data[begin:end].tobytes()
        return line.removeprefix(BYTE_ORDER_MARK) if self.at + begin == 0 else line


def longest_line(columns: CorpusSettings) -> int:
    """Bytes of a line beyond which its document is too large, however it is written."""
    return columns.max_document_bytes * _JSON_INFLATION + _LINE_SLACK


def read_blocks(piece: Slice, stream: BinaryIO, limit: int) -> Iterator[Lines]:
    """All lines that begin in the slice, about _BLOCK bytes at once, until the next are asked for.
    Of a line over `limit` bytes so much is kept as shows that it is one."""
    block = np.empty(_BLOCK + _REST, np.uint8)
    with _buffered(stream, piece.compression) as source:
        at = _first_line(piece, source)
        while piece.compression or at < piece.end:
            wanted = _BLOCK if piece.compression else min(_BLOCK, piece.end - at)
            data, size = block, source.readinto(block[:wanted].data)
            if not size:
                _check_end(piece, at)
                return
            if data[size - 1] != ord("\n"):
                data, size = _with(data, size, source.readline(limit + 1))
            yield Lines.of(data, size, at)
            at += size
            if data[size - 1] != ord("\n"):
                at += _skip_line(source)


def _with(data: npt.NDArray[np.uint8], size: int, rest: bytes) -> tuple[npt.NDArray[np.uint8], int]:
    """`size` bytes of data and the rest of their last line; how many that are."""
    whole = size + len(rest)
    if whole + BEHIND > len(data):
        data = np.concatenate([data[:size], np.empty(len(rest) + BEHIND, np.uint8)])
    data[size:whole] = np.frombuffer(rest, np.uint8)
    return data, whole


def _first_line(piece: Slice, stream: io.BufferedReader) -> int:
    """Moves to the first line of the slice; its offset."""
    if piece.start == 0:
        return 0
    # The line that holds the byte before the slice belongs to the slice before.
    stream.seek(piece.start - 1)
    return piece.start - 1 + _skip_line(stream)


def _skip_line(source: io.BufferedReader) -> int:
    """Bytes up to the line's end."""
    size, piece = 0, b""
    while not piece.endswith(b"\n") and (piece := source.readline(_BUFFER)):
        size += len(piece)
    return size


def _buffered(stream: BinaryIO, compression: str) -> io.BufferedReader:
    """The file's bytes, decompressed."""
    raw = cast(io.RawIOBase, stream)
    if compression:
        # Arrow's decompression notices a stream that ends too early; zstandard's does not.
        native = pa.PythonFile(cast(io.IOBase, stream), mode="r")
        raw = cast(io.RawIOBase, pa.CompressedInputStream(native, compression))
    return io.BufferedReader(raw, _BUFFER)


def _check_end(piece: Slice, size: int) -> None:
    """Refuses a file that ends before its slice does."""
    if not piece.compression and size < piece.end:
        hint = "Do not change sources during a run; run again."
        raise InputError(f"{piece.uri} has {size} bytes, fewer than when it was listed.", hint)
