"""The card of a model of pictures and texts as its files say it, read without loading it: as
`cards.py`."""

from dataclasses import asdict
from typing import Any

from shardrank.core.cards import ImageCard
from shardrank.core.fingerprint import fingerprint
from shardrank.core.image_settings import ImageSettings
from shardrank.models.folder import limits
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.text_input import checked_tokeniser

#: Of what becomes of pictures on their way to the model: counted up where that changes.
_REVISION = 1


def read_image_card(settings: ImageSettings) -> ImageCard:
    """The card of the model of pictures and texts that the settings name.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
    """
    folder = read_image_folder(settings)
    config = folder.layout.config
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*find_weights(folder.layout.transformer).files),
        "tokeniser_fingerprint": checked_tokeniser(folder.layout, texts=1).fingerprint,
        "dim": folder.dim,
        "max_tokens": folder.texts.positions,
        "query_prompt": settings.query_prompt,
        "document_prompt": settings.document_prompt,
        "mix": settings.mix,
        "dtype": limits.dtype([config], settings.dtype, halve=False, packs=lambda _: False),
        "stored": settings.stored,
    }
    hidden = [_REVISION, limits.deciding_config(config), asdict(folder.pictures)]
    hidden.append(asdict(folder.texts))
    return ImageCard(
        name=settings.model, fingerprint=fingerprint(["image", deciding, hidden]), **deciding
    )
