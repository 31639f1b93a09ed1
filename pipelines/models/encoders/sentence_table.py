"""Vectors of sentences by which documents are cut: a static table's means, which cost no more than
tokens do and are the same in any batch."""

from collections.abc import Sequence

from shardrank.core.arrays import Float32
from shardrank.core.cards import EncoderCard
from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.cards import check_fingerprint, read_encoder_card
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.modules import Normalize, StaticTable
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


class SentenceTable:
    """A loaded table (protocol: SentenceVectors)."""

    def __init__(self, source: StaticTable, tokeniser: FastTokeniser) -> None:
        from shardrank.models.encoders.static_table import load_table  # brings torch: a second

        self._table, self._tokeniser = load_table(source), tokeniser

    def vectors(self, texts: Sequence[str]) -> Float32:
        """float32[n, d]: the mean of each text's tokens, zeros where it has none."""
        return self._table.means([span.ids for span in self._tokeniser.encode(texts)])


def sentence_card(model: str) -> EncoderCard:
    """The card of a static table, by its folder or hub name.

    Raises:
        InputError: there is no such model.
        SettingsError: it is no static table, or more than that.
    """
    _source(model)
    return read_encoder_card(EncoderSettings(model=model))


def load_sentences(model: str, planned: str) -> SentenceTable:
    """The table whose card has the planned fingerprint.

    Raises:
        IntegrityError: the model here is another one.
    """
    check_fingerprint(model, planned, sentence_card(model).fingerprint)
    source = _source(model)
    return SentenceTable(source, load_tokeniser(source))


def _source(model: str) -> StaticTable:
    tower = read_encoder_folder(EncoderSettings(model=model)).towers.documents
    plain = all(isinstance(step, Normalize) for step in tower.steps)
    if isinstance(tower.source, StaticTable) and plain:
        return tower.source
    raise SettingsError(
        f"passages.sentence_model = {model!r} is no static table of token vectors alone.",
        "Name a folder of sentence-transformers' StaticEmbedding or of model2vec, such as "
        "minishlab/potion-base-8M: documents are cut before any other model runs.",
    )
