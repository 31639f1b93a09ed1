"""What decides texts that are written about passages, known before any is. Imports no torch."""

from shardrank.core.cards import WriterCard, WrittenCard
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.cards import read_encoder_card
from shardrank.models.complete import check_encoder
from shardrank.models.folder.decoder_folder import read_decoder_folder
from shardrank.models.writer_cards import read_writer_card, writer_card

#: Of which texts are kept: counted up where the choice changes.
_REVISION = 1


def filter_settings(settings: WrittenSettings) -> EncoderSettings | None:
    """Those of the bi-encoder that texts are filtered by; none: all are kept. In fp32, so that
    which are kept is not a machine's choice; what it costs is little beside writing."""
    if settings.filter_model is None:
        return None
    return EncoderSettings(
        model=settings.filter_model, dtype="fp32", trust_remote_code=settings.trust_remote_code
    )


def read_written_card(settings: WrittenSettings) -> WrittenCard:
    """The card of the texts that the settings ask for.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: the prompt cannot be read, or a setting asks for more than there is.
    """
    return _card(settings, read_writer_card(settings))


def read_written_again(settings: WrittenSettings, made: WrittenCard) -> WrittenCard:
    """As `read_written_card`, by the prompt that a version's column was written with: its file may
    be gone."""
    folder = read_decoder_folder(settings.model, settings.revision)
    return _card(settings, writer_card(settings, folder, made.writer.prompt))


def sampled_rivals(settings: WrittenSettings, card: WrittenCard) -> int:
    """How many passages are drawn from the index, among which others are ranked; 0: none."""
    return card.filter_passages


def _card(settings: WrittenSettings, writer: WriterCard) -> WrittenCard:
    found = filter_settings(settings)
    if found is None:
        name = fingerprint(["written", _REVISION, writer.fingerprint, None])
        return WrittenCard(settings.model, name, writer)
    check_encoder(found)
    retriever = read_encoder_card(found).fingerprint
    passages, rank = settings.filter_passages, settings.keep_rank
    name = fingerprint(["written", _REVISION, writer.fingerprint, [retriever, passages, rank]])
    return WrittenCard(settings.model, name, writer, retriever, passages, rank)
