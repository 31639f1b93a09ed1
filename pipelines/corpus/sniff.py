"""What a file's first bytes look like, whatever its name says."""

import re
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from shardrank.core.errors import InputError
from shardrank.core.protocols import SourceOpener
from shardrank.core.source_files import Compression, Format, name_format

#: Enough for the first block of a compressed file.
_HEAD = 1 << 18
_TEXT = 1 << 16
_SHOWN = 40


@dataclass(frozen=True)
class Content:
    """What bytes look like, and what to do with a file of such bytes."""

    what: str
    advice: str


_CONVERT = "Convert it to Parquet or JSON Lines."
_DECOMPRESS = "Decompress it, or write it again with gzip or zstd."
#: First bytes that no JSON text has; longer ones before their own beginnings.
_MAGIC = (
    (b"\x1f\x8b", Content("gzip", "Name it .jsonl.gz, or decompress it.")),
    (b"\x28\xb5\x2f\xfd", Content("zstd", "Name it .jsonl.zst, or decompress it.")),
    (b"PAR1", Content("Parquet", "Name it .parquet.")),
    (b"PARE", Content("encrypted Parquet", "Decrypt it.")),
    (b"BZh", Content("bzip2", _DECOMPRESS)),
    (b"\xfd7zXZ\x00", Content("xz", _DECOMPRESS)),
    (b"\x04\x22\x4d\x18", Content("lz4", _DECOMPRESS)),
    (b"\xff\x06\x00\x00sNaPpY", Content("snappy", _DECOMPRESS)),
    (b"PK\x03\x04", Content("a zip archive", "Unpack it.")),
    (b"ARROW1", Content("Arrow IPC", _CONVERT)),
    (b"FEA1", Content("Feather", _CONVERT)),
    (b"ORC", Content("ORC", _CONVERT)),
    (b"Obj\x01", Content("Avro", _CONVERT)),
    (b"SQLite format 3", Content("SQLite", _CONVERT)),
    (b"%PDF", Content("PDF", _CONVERT)),
    (
        b"version https://git-lfs",
        Content("a pointer of git-lfs, not the file itself", "Fetch it: git lfs pull"),
    ),
)
_UTF16 = Content("UTF-16", "Convert it: iconv -f UTF-16 -t UTF-8 FILE > FILE.utf8.jsonl")
_UTF32 = Content("UTF-32", "Convert it: iconv -f UTF-32 -t UTF-8 FILE > FILE.utf8.jsonl")
_CR_ONLY = Content("lines that end in CR alone", r"Convert it: tr '\r' '\n' < FILE > FILE.lf.jsonl")
_ARRAY = Content("a JSON array", "Write one object a line: jq -c '.[]' FILE > FILE.jsonl")
_PLAIN = Content("JSON, not compressed", "Take the last ending from its name, or compress it.")
_SPREAD = Content(
    "a JSON object over several lines", "Write one object a line: jq -c . FILE > FILE.jsonl"
)
#: No single object holds this: between two of its objects there is a comma.
_OBJECTS_APART_BY_CR = re.compile(rb"\}[ \t]*\r\s*\{")


def refuse_other_content(uri: str, stream: BinaryIO) -> None:
    """Raise InputError where a source begins with another format than its name says.

    Only what certainly is one: a bad first line is a bad row. The stream stands at its start
    before and after.
    """
    named = name_format(uri)
    if named is None:
        return
    head = stream.read(_HEAD if named[1] else _TEXT)
    stream.seek(0)
    found = other_content(head, *named)
    if found:
        raise InputError(*_told(uri, found))


def other_content(head: bytes, form: Format, compression: Compression) -> Content | None:
    """What the head of a file looks like where that is not what its name says; else None."""
    if form == "parquet":
        return None if head.startswith(b"PAR1") else _binary(head)
    if compression and _binary(head) != _COMPRESSED[compression]:
        return _binary(head) or _text(head) or (_PLAIN if head.startswith(b"{") else None)
    text = _inflated(head, compression)
    return _binary(text) or _text(text)


_COMPRESSED = {"gzip": _MAGIC[0][1], "zstd": _MAGIC[1][1]}


def unreadable_file(
    uri: str, rows: int, opener: SourceOpener, version: str, others: int = 0
) -> InputError:
    """The error for a file of which no row could be read; with how many others like it."""
    named = name_format(uri)
    if named == ("parquet", ""):
        found = Content("no text of it is UTF-8", "Write it again as UTF-8.")
    else:
        found = _first_look(uri, opener, version, named[1] if named else "")
    more = f" So it is with {others} more files." if others else ""
    return InputError(
        f"{uri} cannot be read, not one of its {rows:,} rows: {found.what}.{more}",
        f"{found.advice} Nothing was changed: what cannot be read is not taken for deleted.",
    )


def _first_look(uri: str, opener: SourceOpener, version: str, compression: Compression) -> Content:
    with opener(uri, version) as stream:
        text = _inflated(stream.read(_HEAD), compression)
    shown = text[:_SHOWN].decode("utf-8", "backslashreplace")
    found = _binary(text) or _text(text) or (_SPREAD if _is_spread(text) else None)
    if found:
        return Content(f"its first bytes look like {found.what}", found.advice)
    return Content(f"it begins with {shown!r}", "Restore it, or write one JSON object a line.")


def _told(uri: str, found: Content) -> tuple[str, str]:
    advice = found.advice
    if uri.startswith("s3://") and found in _COMPRESSED.values():
        advice += " (An object's Content-Encoding is not looked at, only its key.)"
    return f"{uri} is not what its name says: its first bytes look like {found.what}.", advice


def _binary(head: bytes) -> Content | None:
    return next((content for magic, content in _MAGIC if head.startswith(magic)), None)


def _text(head: bytes) -> Content | None:
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return _UTF32
    nulls = [byte == 0 for byte in head[:4]]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or nulls in _UTF16_NULLS:
        return _UTF16
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return _ARRAY
    return _CR_ONLY if b"\n" not in head and _OBJECTS_APART_BY_CR.search(head) else None


#: Of two characters of ASCII, in either order of bytes.
_UTF16_NULLS = ([True, False, True, False], [False, True, False, True])


def _is_spread(text: bytes) -> bool:
    return text.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip() == b"{"


def _inflated(head: bytes, compression: Compression) -> bytes:
    """The first bytes of what is compressed; empty where the head is not enough to tell."""
    if compression == "gzip":
        return _ungzipped(head)
    if compression == "zstd":
        try:
            return bytes(pa.CompressedInputStream(pa.BufferReader(head), "zstd").read(_TEXT))
        except (OSError, pa.ArrowException):
            return b""
    return head[:_TEXT]


def _ungzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _TEXT)
    except zlib.error:
        return b""
