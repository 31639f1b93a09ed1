"""Cards as a model's files say them, read without loading it.

The driver plans with cards and puts their fingerprints into units; a worker reads the card again
and refuses a model that differs. Imports no torch, and transformers only for models of other
families than BERT's.
"""

from pathlib import Path
from typing import Any, TypeVar

from shardrank.core.cards import EncoderCard, LateCard, RerankerCard, SparseCard
from shardrank.core.errors import InputError, IntegrityError, SettingsError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.core.settings_base import SettingsTable
from shardrank.models.encoders.width import tower_width
from shardrank.models.folder import limits
from shardrank.models.folder.encoder_folder import (
    EncoderFolder,
    configs,
    packs,
    read_encoder_folder,
    tower_facts,
    tower_files,
)
from shardrank.models.folder.hashes import files_of, weights_sha256
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import Tower
from shardrank.models.folder.reranker_folder import RerankerFolder, read_reranker_folder
from shardrank.models.folder.table import UNLIMITED, longest_input
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.text_input import checked_tokeniser

#: Settings that name a model.
Named = TypeVar("Named", bound=SettingsTable)


def read_encoder_card(
    settings: EncoderSettings, halve: bool = False, renders: bool = False
) -> EncoderCard:
    """The card of the encoder that the settings name; settings win over the model's files.

    `halve` says that dtype = "auto" may mean bf16; `renders`, that whoever asks renders by the
    folder's chat template what is to be rendered.

    Vectors are normalised in the end where the model is compared by cosine (sentence-transformers'
    default): search is by inner product, which is then the cosine.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: a setting asks for more than the model has.
    """
    folder = read_encoder_folder(settings)
    documents, queries = folder.towers.documents, folder.towers.queries
    query = own_or_set(settings.query_prompt, folder.config.query_prompt)
    document = own_or_set(settings.document_prompt, folder.config.document_prompt)
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*tower_files(documents)),
        "tokeniser_fingerprint": checked_tokeniser(documents.source, 1, renders).fingerprint,
        "dim": _dim(folder, settings.dim),
        "max_tokens": _longest(documents, settings.max_tokens, "document_length"),
        "query_max_tokens": _longest(queries, settings.max_tokens, "query_length"),
        "pooling": "+".join(documents.pooling.modes) if documents.pooling else "",
        "normalise": own_or_set(settings.normalise, folder.config.similarity == "cosine"),
        "query_prompt": query,
        "document_prompt": document,
        "dtype": limits.dtype(configs(folder.towers), settings.dtype, halve, packs),
    }
    hidden = _hidden(folder, settings.trust_remote_code, renders)
    return EncoderCard(
        name=settings.model, fingerprint=fingerprint(["encoder-2", deciding, hidden]), **deciding
    )


def read_reranker_card(settings: CrossSettings, halve: bool = False) -> RerankerCard:
    """The card of the reranker that the settings name; settings win over the model's files.

    `halve` says that dtype = "auto" may mean bf16.

    The interpolation of a whole model is `shardrank.interpolation` in its config.json (a table
    "shardrank" with a key "interpolation"), else 1: the logit alone.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: a setting asks for more than the model has.
    """
    folder = read_reranker_folder(settings)
    layout, own = folder.layout, folder.own
    limit = settings.max_tokens or own.get("max_length")
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*_reranker_files(folder)),
        "tokeniser_fingerprint": checked_tokeniser(layout, texts=2).fingerprint,
        "max_tokens": limits.max_tokens(layout, limit, "reranker"),
        "prompt": folder.prompt,
        "dtype": limits.dtype([layout.config], settings.dtype, halve),
    }
    hidden = {
        "config": limits.deciding_config(layout.config),
        "code": code_sha256(layout.transformer, settings.trust_remote_code),
        "adapter": own.get("alpha"),
        **_scoring(folder),
    }
    return RerankerCard(
        name=settings.model,
        fingerprint=fingerprint(["reranker-2", deciding, hidden]),
        interpolation=float(own_or_set(settings.interpolation, own.get("interpolation", 1.0))),
        relevant=folder.relevant,
        activation=folder.activation,
        **deciding,
    )


def settled(
    settings: Named, card: EncoderCard | SparseCard | LateCard | RerankerCard | None
) -> Named:
    """The settings with the dtype of the card that was planned with, if there is one: what every
    worker loads, whatever its own CPU can do."""
    return settings.model_copy(update={"dtype": card.dtype}) if card else settings


def check_fingerprint(name: str, expected: str, found: str) -> None:
    """Refuse a model that is not the one whose results are stored.

    Raises:
        IntegrityError: the fingerprints differ.
    """
    if expected != found:
        raise IntegrityError(
            f"The model {name!r} has fingerprint {found} on this worker, not {expected}: model "
            "and index do not match.",
            "Give every worker the same model files and settings, or index again.",
        )


def own_or_set(setting: Any, own: Any) -> Any:
    """The setting, or what the model's files say where there is none."""
    return own if setting is None else setting


def _longest(tower: Tower, setting: int | None, own: str) -> int:
    if not isinstance(tower.source, Layout):
        return min(setting or UNLIMITED, longest_input(tower.source.folder))
    return limits.max_tokens(tower.source, setting, "encoder", getattr(tower.source.call, own))


def _dim(folder: EncoderFolder, setting: int | None) -> int:
    width = tower_width(folder.towers.documents)
    other = tower_width(folder.towers.queries)
    if width != other:
        raise InputError(
            f"{folder.root} gives documents {width} components and queries {other}.",
            "Use another model.",
        )
    if setting is not None and setting > width:
        raise SettingsError(
            f"encoder.dim = {setting}, but the model's vectors have {width} components.",
            f"Set encoder.dim to {width} or less.",
        )
    return min(setting or folder.config.truncate_dim or width, width)


def _hidden(folder: EncoderFolder, trusted: bool, renders: bool) -> dict[str, Any]:
    """What decides results and needs no field of its own."""
    towers = folder.towers
    hidden = {**tower_facts(towers.documents), "code": code_sha256(folder.root, trusted)}
    if folder.one_way:
        return hidden
    weights = weights_sha256(*tower_files(towers.queries))
    tokeniser = checked_tokeniser(towers.queries.source, 1, renders).fingerprint
    return {**hidden, "queries": [tower_facts(towers.queries), weights, tokeniser]}


def code_sha256(folder: Path, trusted: bool) -> str | None:
    """The sha256 of the model's own code where it may run; none where there is none."""
    code = files_of(folder, "**/*.py") if trusted else []
    return weights_sha256(*code) if code else None


def _scoring(folder: RerankerFolder) -> dict[str, Any]:
    """How scores come about, where that is not by a classifier's only label."""
    two = {} if folder.relevant is None else {"relevant": folder.relevant}
    if folder.head is None:
        return two
    return {**two, "head": tower_facts(folder.head), "scores": tower_width(folder.head)}


def _reranker_files(folder: RerankerFolder) -> list[Path]:
    if folder.head is not None:
        return tower_files(folder.head)
    adapter = files_of(folder.adapter, "*.safetensors") if folder.adapter else []
    return [*find_weights(folder.layout.transformer).files, *adapter]
