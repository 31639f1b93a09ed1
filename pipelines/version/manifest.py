"""A version of an index: the write-once manifest that lists all a reader may open."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

from shardrank.core.errors import IntegrityError
from shardrank.core.fingerprint import canonical_json, sha256_hex
from shardrank.core.units import FileRef

FORMAT = 3


@dataclass(frozen=True)
class Counts:
    """How much of something is live: documents, their passages, and the passages' tokens."""

    documents: int = 0
    passages: int = 0
    tokens: int = 0
    truncated: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Part:
    """An immutable piece of the corpus.

    Attributes:
        id: names its passages' content.
        passages: PASSAGES.
        keys: PART_KEYS, what tonight's corpus is compared with.
        vectors: one row a passage.
        deleted: the bitmap of rows that are never found (shardrank.version.liveness); None: all are
            live.
        live: what is left of it.
        lengths: its passages, deleted ones too, by token count, in classes named by their lower
            bound.
        spread: 1 minus the length of the mean of the vectors' directions: 0 where all vectors
            point the same way.
    """

    id: str
    passages: FileRef
    keys: FileRef
    vectors: FileRef
    deleted: FileRef | None
    live: Counts
    lengths: Mapping[str, int]
    spread: float

    @property
    def rows(self) -> int:
        return self.passages.rows

    @property
    def files(self) -> list[FileRef]:
        found = [self.passages, self.keys, self.vectors, self.deleted]
        return [ref for ref in found if ref is not None]

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Part":
        refs = {name: FileRef.parse(value[name]) for name in ("passages", "keys", "vectors")}
        deleted = FileRef.parse(value["deleted"]) if value["deleted"] else None
        return cls(**{**value, **refs, "deleted": deleted, "live": Counts(**value["live"])})


@dataclass(frozen=True)
class Shard:
    """The unit of search: ordinals of the parts it covers, and its file (none: exact search).

    `error` is the share of the vectors' energy that their codes lose, as measured when the shard
    was built; 0 where there is no file.
    """

    parts: tuple[int, ...]
    file: FileRef | None
    error: float = 0.0

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Shard":
        file = FileRef.parse(value["file"]) if value["file"] else None
        return cls(tuple(value["parts"]), file, value["error"])


@dataclass(frozen=True)
class Codec:
    """The trained quantiser: its file, the passages there were when it was trained, its error."""

    file: FileRef
    passages: int
    error: float

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> "Codec":
        return cls(**{**value, "file": FileRef.parse(value["file"])})


@dataclass(frozen=True)
class Version:
    """What readers see.

    Attributes:
        parent: the number of the version that this one was made from; 0: none.
        encoder: the card of the bi-encoder, and the settings that load it again.
        recipe: what decides passages and vectors; stored ones serve while it is the same.
        part_size: passages in a part.
        index: the plan of the codec (kind, nlist, …).
        index_settings: the [index] settings that the plan was made from.
        audit_settings: the [audit] settings that it was audited with.
        audit: target, chosen point and measured curve.
        changes: rows = added + changed + unchanged + tombstones + superseded (0 where it lacks) +
            rejected; and documents deleted, and passages embedded.
        made: flow, run, attempt, time and software: who made it; differs between equal versions.
    """

    parent: int
    parts: tuple[Part, ...]
    shards: tuple[Shard, ...]
    codec: Codec | None
    encoder: Mapping[str, Any]
    recipe: Mapping[str, Any]
    part_size: int
    index: Mapping[str, Any]
    index_settings: Mapping[str, Any]
    audit_settings: Mapping[str, Any]
    audit: Mapping[str, Any]
    changes: Mapping[str, int]
    made: Mapping[str, Any]

    @property
    def live(self) -> Counts:
        """Of all parts together."""
        return sum((part.live for part in self.parts), Counts())

    @property
    def lengths(self) -> dict[str, int]:
        """Stored passages by token count, in classes named by their lower bound."""
        merged: Counter[str] = Counter()
        for part in self.parts:
            merged.update(part.lengths)
        return dict(sorted(merged.items(), key=lambda item: int(item[0])))

    @property
    def files(self) -> list[FileRef]:
        """Every file that a reader of this version may open."""
        found = [ref for part in self.parts for ref in part.files]
        found += [shard.file for shard in self.shards if shard.file]
        return [*found, self.codec.file] if self.codec else found

    def content(self) -> dict[str, Any]:
        """What decides its answers: equal for two versions that answer alike."""
        value = asdict(self)
        for name in ("parent", "changes", "made"):
            del value[name]
        return value

    def to_bytes(self) -> bytes:
        """The manifest: the version, the format, and a checksum over both."""
        value = {"format": FORMAT, **asdict(self)}
        return canonical_json({**value, "sha256": _checksum(value)})

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Version":
        """Raises IntegrityError where the bytes are not a whole manifest of this format."""
        try:
            value = json.loads(data)
            stored = value.get("format")
            if stored != FORMAT:
                raise ValueError(f"its format is {stored!r}, this shardrank reads {FORMAT}")
            if value.pop("sha256") != _checksum(value):
                raise ValueError("its checksum is not that of its content")
            del value["format"]
            value["parts"] = tuple(Part.parse(part) for part in value["parts"])
            value["shards"] = tuple(Shard.parse(shard) for shard in value["shards"])
            value["codec"] = Codec.parse(value["codec"]) if value["codec"] else None
            return cls(**value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"{name} is not a sound version manifest: {error}.",
                "Restore it from a backup, or go back to another version: "
                "shardrank rollback INDEX N.",
            ) from error


def _checksum(value: Mapping[str, Any]) -> str:
    return sha256_hex(canonical_json(value))


def version_key(number: int) -> str:
    """manifests/000001.json for version 1."""
    return f"manifests/{number:06d}.json"


def version_number(key: str) -> int | None:
    """The number of a manifest's key, or None where the key is not one."""
    stem = key.removeprefix("manifests/").removesuffix(".json")
    return int(stem) if stem.isdigit() and version_key(int(stem)) == key else None
