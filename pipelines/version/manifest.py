"""A version of an index: the write-once manifest that lists all a reader may open."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Annotated, Any

from shardrank.core.cards import ColumnCard, EncoderCard
from shardrank.core.errors import IntegrityError
from shardrank.core.files import FileRef
from shardrank.core.fingerprint import canonical_json, sha256_hex
from shardrank.core.papers import files_in, from_json, to_json
from shardrank.core.settings import (
    DECIDING,
    DENSE,
    AuditSettings,
    ColumnSettings,
    EncoderSettings,
    IndexSettings,
    Stored,
)
from shardrank.version.sizing import CodecPlan, Kind

FORMAT = 5


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
class LengthClass:
    """How many passages have so many tokens, or more but fewer than the next class."""

    tokens: int
    passages: int


@dataclass(frozen=True)
class StoredColumn:
    """A value for each passage of a part, in a file beside it.

    Attributes:
        file: one row a passage.
        spread: of vectors: 1 minus the length of the mean of their directions, 0 where all point
            the same way; None of what is no vector.
    """

    file: FileRef
    spread: float | None


@dataclass(frozen=True)
class Part:
    """An immutable piece of the corpus.

    Attributes:
        id: names its passages' content.
        passages: PASSAGES.
        keys: PART_KEYS, what tonight's corpus is compared with.
        columns: by name; a part may lack one.
        deleted: the bitmap of rows that are never found (shardrank.version.liveness); None: all are
            live.
        live: what is left of it.
        lengths: its passages, deleted ones too, by token count, ascending.
    """

    id: str
    passages: FileRef
    keys: FileRef
    columns: Mapping[str, StoredColumn]
    deleted: FileRef | None
    live: Counts
    lengths: tuple[LengthClass, ...]

    @property
    def rows(self) -> int:
        return self.passages.rows

    @property
    def files(self) -> list[FileRef]:
        return list(files_in(self))


@dataclass(frozen=True)
class Shard:
    """The unit of search: ordinals of the parts it covers, and its file (none: exact search).

    `error` is the share of the vectors' energy that their codes lose, as measured when the shard
    was built; 0 where there is no file.
    """

    parts: tuple[int, ...]
    file: FileRef | None
    error: float = 0.0


@dataclass(frozen=True)
class Codec:
    """The trained quantiser: its file, the passages there were when it was trained, its error."""

    file: FileRef
    passages: int
    error: float


@dataclass(frozen=True)
class StoredEncoder:
    """What makes a column: the encoder's card, and the settings that load it again."""

    card: ColumnCard
    settings: Annotated[ColumnSettings, DECIDING]

    @property
    def name(self) -> str:
        """Of the column."""
        return self.settings.name

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
    """An encoder that makes dense vectors, as such."""
    assert isinstance(encoder.card, EncoderCard)
    assert isinstance(encoder.settings, EncoderSettings)
    return DenseEncoder(encoder.card, encoder.settings)


@dataclass(frozen=True)
class Recipe:
    """What decides passages and vectors; stored ones serve while it is the same.

    Attributes:
        encoder, tokeniser: fingerprints of the card and of what documents are tokenised by.
        stored: the type of stored vectors.
        split, max_tokens, overlap: how documents are cut, as it works out with this encoder.
    """

    encoder: str
    tokeniser: str
    stored: str
    split: bool
    max_tokens: int
    overlap: int

    def changed(self, before: "Recipe") -> list[str]:
        """What is not as it was, by the names that people know."""
        return [
            said for name, said in _SAID.items() if getattr(self, name) != getattr(before, name)
        ]


_SAID = {
    "encoder": "the encoder",
    "tokeniser": "its tokeniser",
    "stored": "encoder.stored",
    "split": "passages.split",
    "max_tokens": "passages.max_tokens",
    "overlap": "passages.overlap",
}


@dataclass(frozen=True)
class AuditPoint:
    """Recall at one choice of nprobe and depth, and what it costs a query: see
    `shardrank.version.recall.CostModel`."""

    nprobe: int
    depth: int
    recall: float
    cost: float


@dataclass(frozen=True)
class Audit:
    """How much of exact search an index finds.

    Attributes:
        kind: of the index; exact ones need no audit.
        k: documents that recall counts.
        target: recall that it must reach.
        recall, nprobe, depth: of the chosen effort; of the greatest where none reaches the target.
        points: the measured curve.
        questions: that were asked.
    """

    kind: Kind
    k: int
    target: float
    recall: float
    nprobe: int
    depth: int
    points: tuple[AuditPoint, ...]
    questions: int


@dataclass(frozen=True)
class TermCounts:
    """In how many passages each word is: what BM25 weights words by.

    Attributes:
        passages: live ones.
        words: in all of them, counted as often as they occur.
        terms: term and passages, ascending by term.
    """

    passages: int
    words: int
    terms: FileRef


@dataclass(frozen=True)
class Index:
    """An index over one column.

    Attributes:
        column: its name.
        plan: what decides the codec.
        settings: that the plan was made from.
        codec: the trained quantiser; None: the kind has none.
        counts: of words, over all live passages; None: the column holds weights already.
        shards: the units of search, which together cover all parts.
        audit: how much of exact search it finds.
        audit_settings: that it was audited with.
    """

    column: str
    plan: CodecPlan
    settings: Annotated[IndexSettings, DECIDING]
    codec: Codec | None
    counts: TermCounts | None
    shards: tuple[Shard, ...]
    audit: Audit
    audit_settings: Annotated[AuditSettings, DECIDING]


@dataclass(frozen=True)
class Changes:
    """rows = added + changed + unchanged + tombstones + superseded + rejected; and documents that
    are gone, and passages that were embedded."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    tombstones: int = 0
    superseded: int = 0
    deleted: int = 0
    rejected: int = 0
    embedded: int = 0


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


@dataclass(frozen=True)
class Version:
    """What readers see.

    Attributes:
        parent: the number of the version that this one was made from; 0: none.
        columns: what makes each column of the parts.
        indexes: over the columns, by name.
        part_size: passages in a part.
        changes: what its run found and did.
    """

    parent: int
    parts: tuple[Part, ...]
    columns: Mapping[str, StoredEncoder]
    indexes: Mapping[str, Index]
    recipe: Recipe
    part_size: int
    changes: Changes
    made: Origin

    @property
    def dense(self) -> DenseEncoder:
        """What makes the column DENSE."""
        return dense(self.columns[DENSE])

    @property
    def further(self) -> tuple[StoredEncoder, ...]:
        """What makes the other columns."""
        return tuple(made for name, made in self.columns.items() if name != DENSE)

    @property
    def index(self) -> Index:
        """That over the column DENSE."""
        return self.indexes[DENSE]

    def dim(self, column: str) -> int:
        """Components of a column's vectors; 0: they are sparse."""
        card = self.columns[column].card
        return card.dim if isinstance(card, EncoderCard) else 0

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
