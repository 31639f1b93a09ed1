"""A learned sparse encoder as its folder and the settings have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.model_settings import SparseSettings
from shardrank.models.folder import limits
from shardrank.models.folder.families import check_family
from shardrank.models.folder.headers import read_headers
from shardrank.models.folder.layout import MASKS, Layout
from shardrank.models.folder.own_terms import CountTower, OwnTower, stop_rule
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.folder.sentence_config import SparseConfig, read_sparse_config
from shardrank.models.folder.sparse_modules import (
    MaskedTower,
    ModelTower,
    SparseTower,
    SparseTowers,
    TermTower,
    read_sparse_towers,
)
from shardrank.models.folder.vdr import SpaceTower
from shardrank.models.folder.weights import find_weights

#: The one tensor of a table of terms' weights.
TERM_WEIGHTS = "weight"


@dataclass(frozen=True)
class SparseFolder:
    """A sparse encoder's folder as read: how documents and queries become terms, and prompts."""

    root: Path
    towers: SparseTowers
    config: SparseConfig

    @property
    def one_way(self) -> bool:
        """Whether queries go the way of documents."""
        return self.towers.documents == self.towers.queries


def read_sparse_folder(settings: SparseSettings) -> SparseFolder:
    """The folder of the sparse encoder that the settings name.

    Raises:
        InputError: there is no such model, its files say something that is not understood, or its
            family is not run.
    """
    root = resolve_model(settings.model, settings.revision)
    # First, since it says which kind of model the folder is.
    config = read_sparse_config(root)
    towers = _asked(settings, read_sparse_towers(root))
    for tower in (towers.documents, towers.queries):
        if isinstance(tower, MaskedTower):
            check_family(tower.source.config, MASKS, settings.trust_remote_code)
    return SparseFolder(root, towers, config)


def _asked(settings: SparseSettings, own: SparseTowers) -> SparseTowers:
    """The folder's ways, but for texts whose own tokens are all that is asked for."""
    documents, queries = own.documents, own.queries
    if settings.document_terms == "tokens":
        documents = CountTower(documents.source, once=True, stops=_stops(documents))
    if settings.query_terms == "tokens":
        queries = CountTower(queries.source, once=False, stops=_stops(queries))
    return SparseTowers(documents, queries)


def _stops(tower: SparseTower) -> bool:
    return isinstance(tower, OwnTower | CountTower) and tower.stops


def vocabulary(tower: SparseTower) -> int:
    """How many terms a tower gives weights to.

    Raises:
        InputError: the files do not say, or hold no table of weights.
    """
    terms = tower.source.config.get("vocab_size")
    if isinstance(tower, TermTower) or (isinstance(tower, CountTower) and terms is None):
        return _table_terms(tower.source)
    if not isinstance(terms, int) or terms < 1:
        raise InputError(
            f"{tower.source.transformer / 'config.json'} has vocab_size = {terms!r}, not a number.",
            "Name a complete model folder.",
        )
    return terms


def sparse_facts(tower: SparseTower) -> dict[str, Any]:
    """What decides a tower's terms beside weights and tokeniser; JSON only."""
    if isinstance(tower, TermTower):
        return {"table": True}
    if isinstance(tower, CountTower):
        return {"counts": [tower.once, stop_rule(tower.stops)]}
    config = limits.deciding_config(tower.source.config)
    if isinstance(tower, OwnTower):
        return {"config": config, "own": [tower.repeats, stop_rule(tower.stops)]}
    if isinstance(tower, SpaceTower):
        return {"config": config, "space": [tower.prefix, tower.shift, tower.top]}
    return {"config": config, "pooling": [tower.pooling.strategy, tower.pooling.logarithms]}


def model_configs(towers: SparseTowers) -> list[Mapping[str, Any]]:
    """The config.json of each model among the towers."""
    both = (towers.documents, towers.queries)
    return [tower.source.config for tower in both if isinstance(tower, ModelTower)]


def _table_terms(table: Layout) -> int:
    files = find_weights(table.transformer).files
    held = read_headers(files)
    shapes = {name: list(header.shape) for name, header in held.items()}
    if list(held) != [TERM_WEIGHTS] or len(held[TERM_WEIGHTS].shape) != 1:
        raise InputError(
            f"{files[0]} holds {shapes or 'nothing'}, and no {TERM_WEIGHTS!r} with one number a "
            "term.",
            "Name a complete SparseStaticEmbedding folder.",
        )
    return held[TERM_WEIGHTS].shape[0]
