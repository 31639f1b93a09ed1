"""Headers of Parquet's pages.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, in Thrift's
compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from dataclasses import dataclass
from typing import Any

DATA, DICTIONARY, DATA_V2 = 0, 2, 3
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8

_TRUE, _FALSE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 7, 8, 12
_INTEGERS = (3, 4, 5, 6)


class UnusualPage(Exception):
    """A page that is not read here, be it damaged or only rare."""


@dataclass(frozen=True)
class PageHeader:
    """What is said of a page.

    Attributes:
        kind: DATA, DICTIONARY or DATA_V2.
        stored, size: bytes in the file, and decompressed; levels count.
        crc: of what is stored, or None.
        values: how many there are, nulls too.
        encoding: of the values.
        levels: bytes of the levels, which in DATA_V2 precede the values; 0 in others.
        compressed: whether the values are, where the column has a codec.
    """

    kind: int
    stored: int
    size: int
    crc: int | None
    values: int
    encoding: int
    levels: int
    compressed: bool


def read_header(data: memoryview, at: int) -> tuple[PageHeader, int]:
    """The header that begins there, and where it ends. Raises UnusualPage."""
    try:
        fields, end = _struct(data, at)
        kind = fields[1]
        said = fields[{DATA: 5, DICTIONARY: 7, DATA_V2: 8}[kind]]
        v2 = kind == DATA_V2
        if (kind == DATA and said[3] != RLE) or (v2 and said[6] != 0):
            raise UnusualPage("levels of another encoding")
        header = PageHeader(
            kind=kind,
            stored=fields[3],
            size=fields[2],
            crc=fields.get(4),
            values=said[1],
            encoding=said[4 if v2 else 2],
            levels=said[5] if v2 else 0,
            compressed=said.get(7, True) if v2 else True,
        )
        if min(header.stored, header.size, header.values, header.levels) < 0:
            raise UnusualPage("a size below 0")
    except (KeyError, IndexError, TypeError, RecursionError) as error:
        raise UnusualPage("a header of another kind") from error
    return header, end


def _struct(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, head & 15)
    return fields, at + 1


def _value(data: memoryview, at: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in _INTEGERS[1:]:
        return _integer(data, at)
    if kind == _INTEGERS[0]:
        return data[at], at + 1
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        size, at = _varint(data, at)
        return None, at + size
    if kind == _STRUCT:
        return _struct(data, at)
    raise UnusualPage("a field of another kind")


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return number >> 1 ^ -(number & 1), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        if shift > 63:
            raise UnusualPage("a number of more than 64 bits")
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
