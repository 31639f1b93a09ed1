"""The card of a sparse encoder as its files say it, read without loading it: as `cards.py`."""

from typing import Any

from shardrank.core.cards import SparseCard
from shardrank.core.errors import InputError
from shardrank.core.fingerprint import fingerprint
from shardrank.core.model_settings import SparseSettings
from shardrank.models.cards import code_sha256, own_or_set
from shardrank.models.folder import limits
from shardrank.models.folder.hashes import weights_sha256
from shardrank.models.folder.own_terms import CountTower
from shardrank.models.folder.packable import is_packable_masked
from shardrank.models.folder.sparse_folder import (
    SparseFolder,
    model_configs,
    read_sparse_folder,
    sparse_facts,
    vocabulary,
)
from shardrank.models.folder.sparse_modules import SparseTower, TermTower
from shardrank.models.folder.table import UNLIMITED
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.text_input import checked_tokeniser


def read_sparse_card(settings: SparseSettings, halve: bool = False) -> SparseCard:
    """The card of the sparse encoder that the settings name; settings win over the model's files.

    `halve` says that dtype = "auto" may mean bf16.

    Raises:
        InputError: there is no such model, or its files say something that is not understood.
        SettingsError: a setting asks for more than the model has.
    """
    folder = read_sparse_folder(settings)
    documents, queries = folder.towers.documents, folder.towers.queries
    deciding: dict[str, Any] = {
        "weights_sha256": _weights(documents),
        "tokeniser_fingerprint": _tokeniser(documents),
        "vocabulary": _vocabulary(folder),
        "max_tokens": _longest(documents, settings.max_tokens, "document_length"),
        "query_max_tokens": _longest(queries, settings.max_tokens, "query_length"),
        "query_prompt": own_or_set(settings.query_prompt, folder.config.query_prompt),
        "document_prompt": own_or_set(settings.document_prompt, folder.config.document_prompt),
        "dtype": limits.dtype(
            model_configs(folder.towers), settings.dtype, halve, is_packable_masked
        ),
        "top": own_or_set(settings.top, _most(folder, documents)),
        "query_top": _most(folder, queries),
    }
    hidden = _hidden(folder, settings.trust_remote_code)
    return SparseCard(
        name=settings.model, fingerprint=fingerprint(["sparse-1", deciding, hidden]), **deciding
    )


def _most(folder: SparseFolder, tower: SparseTower) -> int | None:
    """Terms that are kept; of tokens that are counted all, since none weighs more than another."""
    return None if isinstance(tower, CountTower) else folder.config.most


def _weights(tower: SparseTower) -> str:
    return weights_sha256(*find_weights(tower.source.transformer).files)


def _tokeniser(tower: SparseTower) -> str:
    return checked_tokeniser(tower.source, texts=1).fingerprint


def _vocabulary(folder: SparseFolder) -> int:
    mine, other = vocabulary(folder.towers.documents), vocabulary(folder.towers.queries)
    if mine != other:
        raise InputError(
            f"{folder.root} gives documents terms of {mine:,}, and queries of {other:,}.",
            "Use another model.",
        )
    return mine


def _longest(tower: SparseTower, setting: int | None, own: str) -> int:
    most = getattr(tower.source.call, own)
    if isinstance(tower, TermTower | CountTower):
        most = most or limits.tokeniser_limit(tower.source)
        return min(setting or UNLIMITED, most or UNLIMITED)
    return limits.max_tokens(tower.source, setting, "encoder", most)


def _hidden(folder: SparseFolder, trusted: bool) -> dict[str, Any]:
    """What decides results and needs no field of its own."""
    documents, queries = folder.towers.documents, folder.towers.queries
    hidden = {**sparse_facts(documents), "code": code_sha256(folder.root, trusted)}
    if folder.one_way:
        return hidden
    return {**hidden, "queries": [sparse_facts(queries), _weights(queries), _tokeniser(queries)]}
