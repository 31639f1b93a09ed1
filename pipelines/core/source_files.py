"""Which files are sources, how they are read, and why others are not: told from names alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shardrank.core.protocols import Entry

Format = Literal["parquet", "jsonl"]
Compression = Literal["", "gzip", "zstd"]

#: What `name_format` knows, for messages.
SUPPORTED_NAMES = (
    ".parquet and .pq, and .jsonl, .jsonlines, .jl, .ndjson and .json, these five also with .gz "
    "or .zst"
)

_NAME = re.compile(
    r"\.(?:(parquet|pq)|(?:jsonl|jsonlines|jl|json|ndjson)(\.gz|\.zst)?)$", re.IGNORECASE
)
_COMPRESSIONS: dict[str, Compression] = {"": "", ".gz": "gzip", ".zst": "zstd"}

#: Names that hold no documents whatever lies beside them. All else that is not read may be data.
_ABOUT_THE_DATA = re.compile(
    r"(readme|licen[cs]e|notice|copying|changelog|citation|contributing|attribution|requirements)"
    r"(\.(txt|html|cff|bib))?"
    r"|(sha\d+|md5)sums?(\.txt)?|makefile|dockerfile|thumbs\.db|desktop\.ini"
    r"|dataset_(info|infos|dict)\.json|.*_\$folder\$"
    r"|.*\.(md|markdown|rst|py|ipynb|sh|ya?ml|toml|ini|cfg|conf|lock|crc|md5|sha\d+|asc|sig"
    r"|png|jpe?g|gif|svg|webp)"
)
_JUDGEMENTS = re.compile(r"(.*/)?qrels/.*\.(tsv|txt)|(.*/)?qrels[^/]*\.(tsv|txt)|.*\.qrels?")
_ENDING = re.compile(r"(\.[A-Za-z][A-Za-z0-9]{0,9}){1,2}$")


@dataclass(frozen=True)
class LeftOut:
    """A file that is not read, why, and whether it looks like data: whether documents may lack."""

    address: str
    reason: str
    data: bool


@dataclass(frozen=True)
class Listing:
    """What a file, folder or glob stands for: each file of it is read or left out."""

    read: tuple[Entry, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def unread(self) -> list[LeftOut]:
        """Those left out that look like data."""
        return [one for one in self.left_out if one.data]


def name_format(name: str) -> tuple[Format, Compression] | None:
    """Format and compression that a file's name promises; None where it is no source's."""
    match = _NAME.search(name)
    if match is None or _ABOUT_THE_DATA.fullmatch(_last(name).lower()):
        return None
    return ("parquet", "") if match[1] else ("jsonl", _COMPRESSIONS[(match[2] or "").lower()])


def why_left_out(address: str, below: Sequence[str], size: int) -> LeftOut | None:
    """Why a file is no source; None where it is one.

    Args:
        address: of the file.
        below: the path from what the user named to the file: only these names are judged, since
            those above he wrote himself. Empty where he named the file.
        size: its bytes.
    """
    if any(segment in (".", "..") for segment in below):
        return LeftOut(address, "its key holds . or .. as a folder's name", data=True)
    if any(_hidden(segment) for segment in below):
        return LeftOut(address, "hidden: a name that begins with . or _", data=False)
    if name_format(address):
        return None
    if _ABOUT_THE_DATA.fullmatch(_last(address).lower()):
        return LeftOut(address, "about the data, by its name", data=False)
    if _JUDGEMENTS.fullmatch("/".join(below).lower()):
        return LeftOut(address, "judgements, by its name", data=False)
    if size == 0:
        return LeftOut(address, "empty, and of no known format", data=False)
    ending = _ENDING.search(_last(address))
    known = f"{ending[0]} is not read" if ending else "its name says no format"
    return LeftOut(address, known, data=True)


def _hidden(segment: str) -> bool:
    """As Hadoop and Spark have it: `_SUCCESS` is hidden, the partition `_day=1` is not."""
    return segment.startswith(".") or (segment.startswith("_") and "=" not in segment)


def _last(address: str) -> str:
    return address.rsplit("/", 1)[-1]
