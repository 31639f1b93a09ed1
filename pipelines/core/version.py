"""A version of an index: the write-once manifest that lists all a reader may open."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.fingerprint import canonical_json
from pipelines.core.units import FileRef

FORMAT = 1


@dataclass(frozen=True)
class Part:
    """An immutable piece of the corpus. `id` names its passages' content."""

    id: str
    passages: FileRef
    vectors: FileRef

    @property
    def rows(self) -> int:
        return self.passages.rows

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Part":
        return cls(value["id"], FileRef.parse(value["passages"]), FileRef.parse(value["vectors"]))


@dataclass(frozen=True)
class Shard:
    """The unit of search: ordinals of the parts it covers, and its file (none: exact search)."""

    parts: tuple[int, ...]
    file: FileRef | None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Shard":
        return cls(tuple(value["parts"]), FileRef.parse(value["file"]) if value["file"] else None)


@dataclass(frozen=True)
class Version:
    """What readers see.

    Attributes:
        encoder: the card of the bi-encoder, and the settings that load it again.
        index: the plan of the codec (kind, nlist, …).
        audit: target, chosen point and measured curve.
        counts: rows, documents, passages, rejected, truncated.
        made: run, attempt, time and software: who made it; differs between equal versions.
    """

    parts: tuple[Part, ...]
    shards: tuple[Shard, ...]
    codec: FileRef | None
    encoder: Mapping[str, Any]
    index: Mapping[str, Any]
    audit: Mapping[str, Any]
    counts: Mapping[str, int]
    lengths: Mapping[str, int]
    made: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """All but `made`: equal for two versions that answer alike."""
        value = asdict(self)
        del value["made"]
        return value

    def to_bytes(self) -> bytes:
        return canonical_json({"format": FORMAT, **asdict(self)})

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Version":
        """Raises IntegrityError where the bytes are not a manifest of this format."""
        try:
            value = json.loads(data)
            if value.pop("format") != FORMAT:
                raise ValueError("unknown format")
            value["parts"] = tuple(Part.parse(part) for part in value["parts"])
            value["shards"] = tuple(Shard.parse(shard) for shard in value["shards"])
            value["codec"] = FileRef.parse(value["codec"]) if value["codec"] else None
            return cls(**value)
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{name} is not a version manifest: {error}.") from error


def version_key(number: int) -> str:
    """manifests/000001.json for version 1."""
    return f"manifests/{number:06d}.json"


def version_number(key: str) -> int | None:
    """The number of a manifest's key, or None where the key is not one."""
    stem = key.removeprefix("manifests/").removesuffix(".json")
    return int(stem) if stem.isdigit() and version_key(int(stem)) == key else None
