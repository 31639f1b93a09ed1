"""Encoders of further columns as workers load them: with what was fitted, of their own and of what
they read."""

from collections.abc import Mapping
from dataclasses import dataclass

from shardrank.core.files import FileRef
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.models.encoders.registry import family_of
from shardrank.models.forward.threads import use_threads
from shardrank.stages.run.workspace import Workspace
from shardrank.version.manifest import StoredEncoder


@dataclass(frozen=True)
class Sourced:
    """An encoder, and that of the column that its column is made of; None: it is made of texts, be
    it with those of a column that is not asked for, as for queries."""

    encoder: StoredEncoder
    source: StoredEncoder | None

    @classmethod
    def of(cls, encoder: StoredEncoder, columns: Mapping[str, StoredEncoder]) -> "Sourced":
        of = encoder.values_of
        return cls(encoder, columns[of] if of else columns.get(encoder.made_of or ""))

    @property
    def source_codec(self) -> FileRef | None:
        """Of the column that it is made of."""
        return self.source.codec if self.source else None


def load_column_encoder(index: Workspace, wanted: Sourced, device: str) -> ColumnEncoder:
    """The encoder on one thread, with the codecs that lie in the index."""
    use_threads(1)
    encoder = wanted.encoder
    codecs = Codecs(read_codec(index, encoder.codec), read_codec(index, wanted.source_codec))
    family = family_of(encoder.settings)
    return family.load(encoder.settings, device, encoder.card, codecs)


def read_codec(index: Workspace, ref: FileRef | None) -> bytes | None:
    """Its bytes, checked; None where there is none."""
    return None if ref is None else index.storage.read_checked(ref)
