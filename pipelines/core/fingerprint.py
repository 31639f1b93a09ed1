"""Names derived from content: equal inputs give equal names on any machine, at any time."""

import hashlib
import json
from typing import Any


def sha256_hex(data: bytes | memoryview) -> str:
    """The sha256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: one byte string per value.

    Raises:
        ValueError: the value holds NaN or infinity.
        TypeError: the value holds something that JSON has no form for.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def fingerprint(value: Any, digits: int = 20) -> str:
    """The first `digits` hex digits of the sha256 of the value's canonical JSON."""
    return sha256_hex(canonical_json(value))[:digits]


def content_hash(title: str, text: str, picture: bytes | None = None) -> str:
    """128 bits in hex over a document's title, text and picture: another for any other three.

    A NUL ends the title. One that holds a NUL itself is announced by its length behind a byte that
    UTF-8 never has, so that all others keep the hashes that indexes hold of them. Such a byte
    announces the picture, too.
    """
    head = title.encode()
    length = b"\xff%d\0" % len(head) if b"\0" in head else b""
    behind = b"" if picture is None else b"\xff" + picture
    return sha256_hex(length + head + b"\0" + text.encode() + behind)[:32]
