"""What decides vectors of documents, known before any is made."""

from shardrank.core.cards import ColumnCard, DocumentCard, EncoderCard, ImageCard
from shardrank.core.document_settings import DocumentSettings
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint


def read_document_card(settings: DocumentSettings, source: ColumnCard | None) -> DocumentCard:
    """The card of vectors that are means of a column's. They have a length of 1 where those do.

    Raises:
        SettingsError: the column does not hold a model's vectors.
    """
    if not isinstance(source, EncoderCard | ImageCard):
        raise SettingsError(
            f"[[encoder]] {settings.name!r} makes a mean of vectors, and the column "
            f"{settings.of!r} holds none of a model, or none before it.",
            "Set of to an encoder of family dense or image that stands before it.",
        )
    unit = source.normalise if isinstance(source, EncoderCard) else True
    # What it is called decides nothing of its vectors.
    deciding = ["document-1", settings.weights, source.fingerprint]
    return DocumentCard(settings.name, fingerprint(deciding), source.dim, settings.weights, unit)
