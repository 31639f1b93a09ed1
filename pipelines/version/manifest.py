"""A version of an index: the write-once manifest that lists all a reader may open."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from shardrank.core.cards import ColumnCard, EncoderCard, dim_of, own_card
from shardrank.core.errors import IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json, sha256_hex
from shardrank.core.model_settings import (
    DENSE,
    ColumnSettings,
    EncoderSettings,
    Stored,
    made_in_turn,
    made_of,
    values_of,
)
from shardrank.core.papers import files_in, from_json, to_json
from shardrank.core.passage_settings import CutBy, Markup
from shardrank.core.settings_base import DECIDING
from shardrank.version.indexes import Index
from shardrank.version.mapped import Mapped
from shardrank.version.parts import Counts, LengthClass, Part

FORMAT = 5


@dataclass(frozen=True)
class StoredEncoder:
    """What makes a column.

    Attributes:
        card: the encoder's.
        settings: that load it again.
        codec: what it learnt of a sample before it made any column; None: nothing, or not yet.
    """

    card: ColumnCard
    settings: Annotated[ColumnSettings, DECIDING]
    codec: FileRef | None = None

    @property
    def name(self) -> str:
        """Of the column."""
        return self.settings.name

    @property
    def made_of(self) -> str | None:
        """The column that this one is made of, be it beside the passages' texts; None: of these
        alone."""
        return made_of(self.settings)

    @property
    def values_of(self) -> str | None:
        """The column whose values are read, of passages and of queries; None: texts are."""
        return values_of(self.settings)

    @property
    def stored(self) -> Stored | None:
        """The type in which its vectors are stored; None: there is no choice."""
        return self.settings.stored if isinstance(self.settings, EncoderSettings) else None

    def makes_as(self, other: "StoredEncoder") -> bool:
        """Whether both make the same column of the same passages."""
        return (self.card.fingerprint, self.stored) == (other.card.fingerprint, other.stored)


@dataclass(frozen=True)
class DenseEncoder:
    """What makes dense vectors."""

    card: EncoderCard
    settings: EncoderSettings


def dense(encoder: StoredEncoder) -> DenseEncoder:
    """An encoder that makes dense vectors, as such: of texts alone, whatever else its column is
    made of."""
    assert isinstance(encoder.card, EncoderCard)
    assert isinstance(encoder.settings, EncoderSettings)
    return DenseEncoder(own_card(encoder.card), encoder.settings)


@dataclass(frozen=True)
class Recipe:
    """What decides passages and vectors; stored ones serve while it is the same.

    Attributes:
        encoder, tokeniser: fingerprints of the card and of what documents are tokenised by.
        stored: the type of stored vectors.
        split, max_tokens, overlap: how documents are cut, as it works out with this encoder.
        by, markup, rules: and into what, see `CutRule`.
    """

    encoder: str
    tokeniser: str
    stored: str
    split: bool
    max_tokens: int
    overlap: int
    by: CutBy = "tokens"
    markup: Markup = "plain"
    rules: int = 0


@dataclass(frozen=True)
class Changes:
    """rows = added + changed + unchanged + tombstones + superseded + rejected; and documents that
    are gone, passages that were embedded, and those of the changed documents whose content is as
    before, which another encoder has embedded."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    tombstones: int = 0
    superseded: int = 0
    deleted: int = 0
    rejected: int = 0
    embedded: int = 0
    backfilled: int = 0


@dataclass(frozen=True)
class Origin:
    """Who made a version, when and how; it differs between versions that are otherwise equal.

    Attributes:
        flow, run: that made it.
        attempt: tells apart two that try at once.
        time: seconds since 1970.
        by: user@machine.
        shardrank: the software's version.
        corpus: the files that it was made from; None: from what was stored.
        columns: that the settings of its run, or of one before, named and files have had.
        rollback_to: the number of the version that it repeats.
        command: what it was asked for by.
        set: the settings that were not left to their defaults, or to the index.
    """

    flow: str
    run: str
    attempt: str
    time: float
    by: str
    shardrank: str
    corpus: str | None = None
    columns: tuple[str, ...] = ()
    rollback_to: int | None = None
    command: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """What readers see.

    Attributes:
        parent: the number of the version that this one was made from; 0: none.
        columns: what makes each column of the parts.
        indexes: over the columns, by name.
        part_size: passages in a part.
        changes: what its run found and did.
        mapped: how documents are served that the first encoder has not embedded; None: there are
            none.
    """

    parent: int
    parts: tuple[Part, ...]
    columns: Mapping[str, StoredEncoder]
    indexes: Mapping[str, Index]
    recipe: Recipe
    part_size: int
    changes: Changes
    made: Origin
    mapped: Mapped | None = None

    @property
    def dense(self) -> DenseEncoder:
        """What makes the column DENSE."""
        return dense(self.columns[DENSE])

    @property
    def further(self) -> tuple[StoredEncoder, ...]:
        """What makes the other columns, each behind what it is made of; a manifest sorts them by
        name."""
        others = [made for name, made in self.columns.items() if name != DENSE]
        return tuple(made_in_turn(others, lambda made: made.settings))

    @property
    def index(self) -> Index:
        """That over the column DENSE."""
        return self.indexes[DENSE]

    def dim(self, column: str) -> int:
        """Components of a column's vectors; 0: they are not dense."""
        return dim_of(self.columns[column].card)

    @property
    def live(self) -> Counts:
        """Of all parts together."""
        return sum((part.live for part in self.parts), Counts())

    @property
    def lengths(self) -> tuple[LengthClass, ...]:
        """Stored passages by token count, ascending."""
        merged: Counter[int] = Counter()
        for each in (each for part in self.parts for each in part.lengths):
            merged[each.tokens] += each.passages
        return tuple(LengthClass(*item) for item in sorted(merged.items()))

    @property
    def files(self) -> list[FileRef]:
        """Every file that a reader of this version may open."""
        return list(files_in(self))

    def content(self) -> dict[str, Any]:
        """What decides its answers: equal for two versions that answer alike."""
        value: dict[str, Any] = to_json(self)
        for name in ("parent", "changes", "made"):
            del value[name]
        return value

    def to_bytes(self) -> bytes:
        """The manifest: the version, the format, and a checksum over both."""
        value = {"format": FORMAT, **to_json(self)}
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
            return from_json(cls, value)
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
