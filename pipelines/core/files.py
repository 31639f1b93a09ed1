"""Stored files, as manifests and markers vouch for them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileRef:
    """A stored file: `key` is relative to the storage's root."""

    key: str
    bytes: int
    sha256: str
    rows: int = 0
