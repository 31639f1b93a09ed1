"""What a model's folder holds and is not read, or is read otherwise than one might think: sentences
for people. Nothing here changes a result."""

from collections.abc import Iterable
from pathlib import Path

from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import ColumnSettings, EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.encoders.views_cards import bi_encoder
from shardrank.models.encoders.written_cards import filter_settings
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.late_folder import read_late_folder
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import StaticTable, Tower
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.text_input import tokeniser_notes
from shardrank.models.text.tokens import load_tokeniser
from shardrank.models.writer_cards import writer_notes


def encoder_notes(settings: EncoderSettings) -> list[str]:
    """Of the encoder that the settings name; raises as its card does."""
    folder = read_encoder_folder(settings)
    towers = folder.towers.documents, folder.towers.queries
    return [*folder.config.notes, *_distinct(_tower_notes(tower) for tower in towers)]


def column_notes(encoders: Iterable[ColumnSettings]) -> list[str]:
    """Of encoders of any family, each once; raises as their cards do."""
    return _distinct(map(_column_notes, encoders))


def _column_notes(settings: ColumnSettings) -> list[str]:
    if isinstance(settings, EncoderSettings):
        return encoder_notes(settings)
    if isinstance(settings, ViewsSettings):
        return encoder_notes(bi_encoder(settings))
    if isinstance(settings, WrittenSettings):
        filter_ = filter_settings(settings)
        return [*writer_notes(settings), *(encoder_notes(filter_) if filter_ else [])]
    return late_notes(settings) if isinstance(settings, LateSettings) else []


def late_notes(settings: LateSettings) -> list[str]:
    """Of the model of token vectors that the settings name; raises as its card does."""
    folder = read_late_folder(settings)
    source, mask = folder.tower.source, folder.tower.mask
    tokeniser = load_tokeniser(source)
    unknown = [word for word in mask.skipped if tokeniser.id_of(word) is None]
    notes = [*folder.config.notes, *_source_notes(source)]
    if not unknown or folder.config.kind == "native":
        return notes
    return [
        *notes,
        f"{source.transformer} skips words that are no tokens of its tokeniser: "
        f"{' '.join(unknown)}. PyLate takes them for unknown tokens, and skips those; "
        "sentence-transformers does not, and neither is it done here.",
    ]


def enriched_notes(settings: EncoderSettings) -> list[str]:
    """Of the encoder of enriched queries, whose prompt says how its inputs end."""
    folder = read_encoder_folder(settings)
    towers = folder.towers.documents, folder.towers.queries
    return [*folder.config.notes, *_distinct(_source_notes(tower.source) for tower in towers)]


def cross_notes(settings: CrossSettings) -> list[str]:
    """Of the cross-encoder that the settings name; raises as its card does."""
    folder = read_reranker_folder(settings)
    return _tower_notes(folder.head) if folder.head else _source_notes(folder.layout)


def _tower_notes(tower: Tower) -> list[str]:
    source, found = tower.source, _source_notes(tower.source)
    if isinstance(source, StaticTable) or tower.pooling is None:
        return found
    pooling = "+".join(tower.pooling.modes)
    return [*found, *tokeniser_notes(load_tokeniser(source), source, pooling)]


def _source_notes(source: Layout | StaticTable) -> list[str]:
    folder = source.transformer if isinstance(source, Layout) else source.folder
    return _weight_notes(folder)


def _weight_notes(folder: Path) -> list[str]:
    found = find_weights(folder)
    if not found.others:
        return []
    read = ", ".join(file.name for file in found.files)
    return [
        f"{folder} holds other weights that are not read: {', '.join(found.others)}; {read} is."
    ]


def _distinct(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(note for notes in lists for note in notes))
