"""What is written about queries, as a plan and as it goes into the search."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from shardrank.core.errors import SettingsError
from shardrank.core.files import FileRef
from shardrank.core.model_settings import DENSE
from shardrank.core.settings import Settings
from shardrank.models.writer_cards import read_writer_card
from shardrank.stages.rank.search import Retriever
from shardrank.stages.rank.write import PlannedWriter, Wrote
from shardrank.stages.rank.written import mean_with_written, write_expanded
from shardrank.stages.run.runner import Context
from shardrank.stages.shared.encode import QueryBlock
from shardrank.version.manifest import DenseEncoder, StoredEncoder

#: Families of encoders whose queries are moved by passages that are written about them.
_MOVED = ("dense", "bm25", "sparse")


def plan_writer(
    settings: Settings, retrievers: Sequence[Retriever], further: Sequence[StoredEncoder]
) -> PlannedWriter | None:
    """The writer that the settings name; none: they name none.

    Raises:
        InputError: the model is absent, incomplete or not understood.
        SettingsError: a setting asks for more than there is, or what is written would change
            nothing.
    """
    if settings.writer.off:
        return None
    if settings.writer.makes == "parts":
        _refuse_both(settings)
    else:
        _refuse_idle(retrievers, further)
    whole = settings.writer.whole
    return PlannedWriter(whole, read_writer_card(whole))


def _refuse_both(settings: Settings) -> None:
    if settings.search.parent:
        raise SettingsError(
            f"writer.makes = parts, and search.parent = {settings.search.parent!r} names parts "
            "that the queries have already.",
            "Leave one of them out, or write passages: writer.makes = passages.",
        )


def _refuse_idle(retrievers: Sequence[Retriever], further: Sequence[StoredEncoder]) -> None:
    moved = _columns_moved(further)
    searched = [each.index.column for each in retrievers]
    if not moved & set(searched):
        raise SettingsError(
            f"writer.makes = passages, and the retrievers search {', '.join(searched)}, whose "
            "queries stay as they are asked.",
            f"Search one of {', '.join(sorted(moved))} too, or let the writer make parts.",
        )


def _columns_moved(further: Sequence[StoredEncoder]) -> Set[str]:
    """Columns whose queries are changed by passages that are written: that of the first encoder,
    further dense ones, those of words, and all that are made of one of them."""
    found = {DENSE}
    for each in further:
        if each.made_of in found or each.card.family in _MOVED:
            found.add(each.name)
    return found


@dataclass(frozen=True)
class WrittenAbout:
    """What was written about the queries of a batch, and by what."""

    wrote: Wrote
    writer: PlannedWriter

    @property
    def makes_passages(self) -> bool:
        """Whether it moves the queries; else they have parts."""
        return self.writer.settings.makes == "passages"

    @property
    def repeats(self) -> Mapping[str, int]:
        """Families of encoders that read words, and how often a query's own stand before those of
        its passages: learned weights do not count them."""
        return {"bm25": self.writer.settings.repeat, "sparse": 1}


@dataclass(frozen=True)
class SearchedFor:
    """Blocks of queries, and of parts of them, which are searched behind these; and what was
    written about the queries."""

    blocks: Sequence[QueryBlock]
    parts: Sequence[QueryBlock]
    about: WrittenAbout | None

    @property
    def every(self) -> list[QueryBlock]:
        """All blocks in the order in which they are searched."""
        return [*self.blocks, *self.parts]

    @property
    def passages(self) -> WrittenAbout | None:
        """What was written, where it moves the queries."""
        return self.about if self.about and self.about.makes_passages else None


def vectors_asked(
    context: Context, searched: SearchedFor, vectors: Sequence[FileRef], encoder: DenseEncoder
) -> list[FileRef]:
    """The vectors, a file a block, by which a dense encoder's column is searched."""
    if searched.passages is None:
        return list(vectors)
    about, own = searched.passages.wrote.table, vectors[: len(searched.blocks)]
    moved = mean_with_written(context, searched.blocks, own, about, encoder)
    return [*moved, *vectors[len(own) :]]


def texts_asked(context: Context, searched: SearchedFor) -> Mapping[str, Sequence[FileRef]]:
    """The texts that are asked by the family of encoders that reads them, a file a block; under ""
    those of all others."""
    plain = {"": [block.queries for block in searched.every]}
    if searched.passages is None:
        return plain
    table, out = searched.passages.wrote.table, context.workspace
    parts = [part.queries for part in searched.parts]
    return plain | {
        family: [*(write_expanded(out, b, table, repeat) for b in searched.blocks), *parts]
        for family, repeat in searched.passages.repeats.items()
    }
