"""What an index run reads: its corpus's files and slices, known before any work."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from shardrank.core.errors import InputError
from shardrank.core.settings import Settings
from shardrank.core.source_files import Listing
from shardrank.corpus.heads import look_at_heads
from shardrank.corpus.named import known_names, refuse_absent
from shardrank.corpus.slices import Slice, plan_files
from shardrank.stages.shared.versions import Published
from shardrank.storage import Sources, contains
from shardrank.version.sizing import TEXT_PER_COMPRESSED_BYTE


@dataclass(frozen=True)
class SourcePlan:
    """What is read.

    Attributes:
        corpus: file, folder or glob, as it was given.
        listing: its files.
        names: columns known before a row is read: of Parquet files, and those of paths.
        slices: pieces of the files.
        bytes: of all files.
    """

    corpus: str
    listing: Listing
    names: Set[str]
    slices: Sequence[Slice]
    bytes: int

    @property
    def text(self) -> int:
        """Bytes of text, about."""
        packed = any(piece.compression or piece.format == "parquet" for piece in self.slices)
        return self.bytes * (TEXT_PER_COMPRESSED_BYTE if packed else 1)


def read_source(corpus: str, settings: Settings, base: Published | None) -> SourcePlan:
    """List the corpus, cut it into slices, and look at the heads of its files.

    Raises:
        InputError: there is no such corpus, a file of it cannot be read or would be left out, or a
            column is missing.
    """
    sources = Sources(settings.s3)
    listing = sources.listing(corpus, settings.corpus.allow_unread)
    files = plan_files(listing.read, sources.open, settings.corpus.slice_bytes)
    names = known_names(files, settings.corpus)
    look_at_heads(files, sources.open, settings.corpus)
    if all(file.schema is not None for file in files):
        met = base.version.made.columns if base else ()
        refuse_absent(names, settings.corpus, met)
    return SourcePlan(
        corpus=corpus,
        listing=listing,
        names=names,
        slices=[piece for file in files for piece in file.slices],
        bytes=sum(entry.bytes for entry in listing.read),
    )


def refuse_overlap(corpus: str, path: str) -> None:
    """Raise InputError where the index lies inside the corpus."""
    if contains(corpus, path):
        raise InputError(
            f"INDEX {path} lies inside CORPUS {corpus}: the next run would read its own files.",
            "Choose an INDEX outside, or name the corpus's files.",
        )
