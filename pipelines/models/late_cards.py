"""The card of a model of token vectors as its files say it, read without loading it: as
`cards.py`."""

from typing import Any

from shardrank.core.cards import LateCard
from shardrank.core.errors import SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.late_settings import LateSettings
from shardrank.models.cards import code_sha256, own_or_set
from shardrank.models.encoders.width import late_width
from shardrank.models.folder import limits
from shardrank.models.folder.encoder_folder import packs
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.late_folder import (
    LateFolder,
    document_tokens,
    late_facts,
    late_files,
    query_tokens,
    read_late_folder,
)
from shardrank.models.text.text_input import checked_tokeniser

#: Of the arithmetic of pooling and codes: counted up where their results change.
_REVISION = 1


def read_late_card(settings: LateSettings, halve: bool = False) -> LateCard:
    """The card of the model of token vectors that the settings name; settings win over its files.

    `halve` says that dtype = "auto" may mean bf16.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: a setting asks for more than the model has, or for codes of bits that do not
            fill bytes.
    """
    folder = read_late_folder(settings)
    source = folder.tower.source
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*late_files(folder.tower)),
        "tokeniser_fingerprint": checked_tokeniser(source, texts=1).fingerprint,
        "dim": late_width(folder.tower),
        "max_tokens": document_tokens(folder, settings.document_tokens),
        "query_max_tokens": query_tokens(folder, settings.query_tokens),
        "query_prompt": own_or_set(settings.query_prompt, folder.config.query.prompt),
        "document_prompt": own_or_set(settings.document_prompt, folder.config.document.prompt),
        "dtype": limits.dtype([source.config], settings.dtype, halve, packs),
        "pool": folder.tower.pooling.factor,
        "stored": settings.stored,
        "normalised": _normalised(folder),
    }
    _check_bits(settings.stored, deciding["dim"])
    hidden = [_REVISION, late_facts(folder), code_sha256(folder.root, settings.trust_remote_code)]
    coded = None if settings.stored == "fp16" else settings.centroids
    return LateCard(
        name=settings.model,
        fingerprint=fingerprint(["late", deciding, hidden, coded]),
        **deciding,
    )


def _normalised(folder: LateFolder) -> bool:
    pooling = folder.tower.pooling
    pooled = pooling.factor > 1
    return pooling.normalise or (folder.tower.normalised and not pooled)


def _check_bits(stored: str, dim: int) -> None:
    if stored != "fp16" and dim * int(stored) % 8:
        raise SettingsError(
            f"encoder.stored = {stored}, but the model's vectors have {dim} components, whose "
            f"codes of {stored} bits do not fill whole bytes.",
            "Set stored = fp16, or to more bits.",
        )
