"""Texts of Parquet's columns where they lie in decompressed pages: none is copied.

Only what most writers write is read here, and only of sound pages; the caller reads all else, and
says what is wrong with it, by pyarrow.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shardrank.core.arrays import Bool
from shardrank.corpus.page_header import (
    DICTIONARY,
    PLAIN,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    PageHeader,
    UnusualPage,
    read_header,
)
from shardrank.corpus.rows import Spans
from shardrank.kernels.page_loops import read_chosen, read_hybrid, read_plain
from shardrank.kernels.snappy_loops import unpack_snappy

_CODECS = {"UNCOMPRESSED": None, "SNAPPY": "snappy", "ZSTD": "zstd", "GZIP": "gzip"}
#: Bytes between two columns that are read with them, rather than asked for apart.
_GAP = 1 << 16

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Texts:
    """n values of a column: their spans, and bool[n], which are not null."""

    spans: Spans
    valid: Bool


def can_be_read(footer: pq.FileMetaData, group: int, names: Sequence[str]) -> bool:
    """Whether these are columns of texts, one a row, in a codec that is known here."""
    for name in names:
        found = _columns(footer, name)
        if len(found) != 1:
            return False
        schema, chunk = footer.schema.column(found[0]), footer.row_group(group).column(found[0])
        flat = schema.max_repetition_level == 0 and schema.max_definition_level <= 1
        if not flat or chunk.physical_type != "BYTE_ARRAY" or chunk.compression not in _CODECS:
            return False
    return True


def read_texts(
    stream: BinaryIO, footer: pq.FileMetaData, group: int, names: Sequence[str], rows: int
) -> Iterator[list[Texts]]:
    """The columns of a row group, each as far, so many rows at once.

    Raises:
        UnusualPage: a page is not as this reads them; the rows before are good.
    """
    numbers = [_columns(footer, name)[0] for name in names]
    chunks = [footer.row_group(group).column(number) for number in numbers]
    if any(chunk.num_values != footer.row_group(group).num_rows for chunk in chunks):
        raise UnusualPage("other than one value a row")
    columns = [
        _Column(chunk, data, footer.schema.column(number).max_definition_level == 1)
        for number, chunk, data in zip(numbers, chunks, _stored(stream, chunks), strict=True)
    ]
    left = footer.row_group(group).num_rows
    while left:
        yield [column.take(min(rows, left)) for column in columns]
        left -= min(rows, left)


def _columns(footer: pq.FileMetaData, name: str) -> list[int]:
    return [n for n in range(footer.num_columns) if footer.schema.column(n).path == name]


def _begin(chunk: pq.ColumnChunkMetaData) -> int:
    data, dictionary = int(chunk.data_page_offset), int(chunk.dictionary_page_offset or 0)
    return min(data, dictionary) if dictionary else data


def _stored(stream: BinaryIO, chunks: Sequence[pq.ColumnChunkMetaData]) -> list[memoryview]:
    """What the file holds of each; those that lie close by are read at once."""
    places = [(_begin(chunk), _begin(chunk) + chunk.total_compressed_size) for chunk in chunks]
    runs: list[tuple[int, int]] = []
    for begin, end in sorted(places):
        near = runs and begin <= runs[-1][1] + _GAP
        first, last = runs.pop() if near else (begin, end)
        runs.append((first, max(last, end)))
    read = [(begin, memoryview(_bytes(stream, begin, end))) for begin, end in runs]
    return [_within(read, *place) for place in places]


def _bytes(stream: BinaryIO, begin: int, end: int) -> bytes:
    stream.seek(begin)
    return stream.read(end - begin)


def _within(read: Sequence[tuple[int, memoryview]], begin: int, end: int) -> memoryview:
    first, data = next(run for run in reversed(read) if run[0] <= begin)
    return data[begin - first : end - first]


class _Column:
    """A column's texts, a page at a time, given out by any number of rows."""

    def __init__(self, chunk: pq.ColumnChunkMetaData, data: memoryview, nullable: bool) -> None:
        self._codec, self._data, self._nullable = _CODECS[chunk.compression], data, nullable
        self._headers = _headers(chunk, data)
        self._dictionary: Texts | None = None
        self._pages = self._read()
        self._page, self._used = _none(), 0

    def take(self, rows: int) -> Texts:
        """The next rows."""
        taken: list[Texts] = []
        while rows:
            if self._used == len(self._page.valid):
                self._page, self._used = next(self._pages, None) or _missing(), 0
            some = min(rows, len(self._page.valid) - self._used)
            taken.append(_cut(self._page, self._used, self._used + some))
            rows, self._used = rows - some, self._used + some
        return taken[0] if len(taken) == 1 else _joined(taken)

    def _read(self) -> Iterator[Texts]:
        for header, at in self._headers:
            stored = self._data[at : at + header.stored]
            _check(header, stored)
            data, values = self._decompressed(header, stored)
            if header.kind == DICTIONARY:
                if self._dictionary or header.encoding not in (PLAIN, PLAIN_DICTIONARY):
                    raise UnusualPage("a dictionary of another kind")
                valid = np.ones(header.values, np.bool_)
                self._dictionary = self._values(data, 0, PLAIN, valid)
            else:
                valid, begin = self._levels(data, header)
                yield self._values(values, begin, header.encoding, valid)

    def _decompressed(self, header: PageHeader, stored: memoryview) -> tuple[Bytes, Bytes]:
        """Where levels begin, and where values do: the same, but in DATA_V2."""
        levels, values = stored[: header.levels], stored[header.levels :]
        whole = _array(values)
        if self._codec and header.compressed:
            whole = _unpacked(self._codec, whole, header.size - header.levels)
        return (_array(levels) if header.levels else whole), whole

    def _levels(self, data: Bytes, header: PageHeader) -> tuple[Bool, int]:
        """bool[n], which values are not null, and where in the data the values begin."""
        if not self._nullable:
            return np.ones(header.values, np.bool_), 0
        begin, size = 0, header.levels
        if not size:
            begin, size = 4, int.from_bytes(data[:4].tobytes(), "little")
        levels, at = np.empty(header.values, np.int32), data.ctypes.data + begin
        if size > len(data) - begin or not read_hybrid(at, at + size, 1, levels):
            raise UnusualPage("levels that cannot be read")
        if levels.max(initial=0) > 1:
            raise UnusualPage("levels that are too high")
        return levels == 1, 0 if header.levels else begin + size

    def _values(self, data: Bytes, begin: int, encoding: int, valid: Bool) -> Texts:
        at, end = data.ctypes.data + begin, data.ctypes.data + len(data)
        begins, ends = np.empty(len(valid), np.int64), np.empty(len(valid), np.int64)
        held: object = data
        if encoding == PLAIN:
            good = read_plain(at, end, valid, begins, ends)
        elif encoding in (PLAIN_DICTIONARY, RLE_DICTIONARY) and self._dictionary:
            numbers = np.empty(np.count_nonzero(valid), np.int32)
            texts, held = self._dictionary.spans, self._dictionary
            good = at < end and read_hybrid(at + 1, end, int(data[begin]), numbers)
            good = good and read_chosen(numbers, valid, (texts.begins, texts.ends), begins, ends)
        else:
            raise UnusualPage("values of another encoding")
        if not good:
            raise UnusualPage("values that cannot be read")
        return Texts(Spans(held, begins, ends), valid)


def _headers(chunk: pq.ColumnChunkMetaData, data: memoryview) -> list[tuple[PageHeader, int]]:
    """The pages' headers and where their data begins.

    Raises:
        UnusualPage: some are not as this reads them.
        pa.ArrowInvalid: they do not say together what the footer says.
    """
    found, at, values = [], 0, 0
    most = chunk.total_uncompressed_size + chunk.total_compressed_size
    while at < len(data):
        header, at = read_header(data, at)
        found.append((header, at))
        at += header.stored
        values += header.values if header.kind != DICTIONARY else 0
        if max(header.size, header.stored) > most or header.values > chunk.num_values:
            raise UnusualPage("a page that is larger than its column")
    if values != chunk.num_values:  # of which pyarrow may make rows with each other's texts
        raise pa.ArrowInvalid(f"pages hold {values} values, and the footer says {chunk.num_values}")
    return found


def _unpacked(codec: str, data: Bytes, size: int) -> Bytes:
    if size <= 0:
        return _array(b"")
    if codec == "snappy":
        found = unpack_snappy(data, size)
        if found is None:
            raise UnusualPage("data that cannot be decompressed")
        return found
    try:
        return _array(pa.Codec(codec).decompress(data, size))
    except (pa.ArrowException, OSError) as error:
        raise UnusualPage("data that cannot be decompressed") from error


def _check(header: PageHeader, stored: memoryview) -> None:
    if len(stored) != header.stored or header.levels > header.stored:
        raise UnusualPage("a page that ends too early")
    if header.crc is not None and zlib.crc32(stored) != header.crc & 0xFFFFFFFF:
        raise UnusualPage("a page that is damaged")


def _array(data: object) -> Bytes:
    whole = memoryview(data)  # type: ignore[arg-type]
    return np.frombuffer(whole, np.uint8) if len(whole) else np.empty(0, np.uint8)


def _none() -> Texts:
    nothing = np.empty(0, np.int64)
    return Texts(Spans(None, nothing, nothing), np.empty(0, np.bool_))


def _missing() -> Texts:
    raise UnusualPage("fewer values than rows")


def _cut(texts: Texts, begin: int, end: int) -> Texts:
    spans = texts.spans
    cut = Spans(spans.held, spans.begins[begin:end], spans.ends[begin:end])
    return Texts(cut, texts.valid[begin:end])


def _joined(texts: Sequence[Texts]) -> Texts:
    begins, ends, valid = (
        np.concatenate(each)
        for each in zip(*((t.spans.begins, t.spans.ends, t.valid) for t in texts), strict=True)
    )
    return Texts(Spans([t.spans.held for t in texts], begins, ends), valid)
