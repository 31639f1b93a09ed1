"""Which files are sources, and how they are read: told from their names alone."""

import re
from typing import Literal

Format = Literal["parquet", "jsonl"]
Compression = Literal["", "gzip", "zstd"]

#: What `name_format` knows, for messages.
SUPPORTED_NAMES = ".parquet, .jsonl, .json, .ndjson, and the last three with .gz or .zst"

_NAME = re.compile(r"\.(?:(parquet)|(?:jsonl|json|ndjson)(\.gz|\.zst)?)$", re.IGNORECASE)
_COMPRESSIONS: dict[str, Compression] = {"": "", ".gz": "gzip", ".zst": "zstd"}


def name_format(name: str) -> tuple[Format, Compression] | None:
    """Format and compression that a file's name promises; None where it is no source's."""
    match = _NAME.search(name)
    if match is None:
        return None
    return ("parquet", "") if match[1] else ("jsonl", _COMPRESSIONS[(match[2] or "").lower()])
