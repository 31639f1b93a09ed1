"""How much a model multiplies and holds: counted from the headers of its weights. Imports no
torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import EncoderSettings, SparseSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.encoders.width import hidden_width
from shardrank.models.folder.attention_size import NO_ATTENTION, AttentionSize, attention_size
from shardrank.models.folder.decoder_size import kept_numbers
from shardrank.models.folder.encoder_folder import packs, read_encoder_folder, tower_files
from shardrank.models.folder.headers import Header, parameters, read_headers
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.folder.late_folder import late_files, read_late_folder
from shardrank.models.folder.layers import is_kept
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import Tower
from shardrank.models.folder.own_terms import CountTower, OwnTower
from shardrank.models.folder.plain_decoder import HEAD, is_plain_decoder
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.sparse_folder import read_sparse_folder, vocabulary
from shardrank.models.folder.sparse_modules import SparseTower, TermTower
from shardrank.models.folder.table import read_table_shape
from shardrank.models.folder.vdr import SpaceTower, space_weights
from shardrank.models.folder.weights import find_weights


@dataclass(frozen=True)
class ModelSize:
    """How much a model multiplies and holds, in numbers.

    Attributes:
        multiplied: that each token is multiplied with.
        held: of its weights; of a cross-encoder its embeddings are left out.
        kept: of the keys and values of a token that others attend to later.
        terms: of the vocabulary, whose logits are made for a token that is written.
        attention: by how much a token is compared with others.
        looked_up: of a token's row, in a static table.
        ours: whether our own forward pass runs it, whose speed was measured.
    """

    multiplied: int
    held: int
    kept: int = 0
    terms: int = 0
    attention: AttentionSize = NO_ATTENTION
    looked_up: int = 0
    ours: bool = True


@dataclass(frozen=True)
class Sides:
    """What documents go through, and what queries do: most often the same."""

    documents: ModelSize
    queries: ModelSize


def encoder_sides(settings: EncoderSettings) -> Sides:
    """Of a bi-encoder, or of one that reranks."""
    towers = read_encoder_folder(settings).towers
    return Sides(
        _tower_size(towers.documents, settings.layers),
        _tower_size(towers.queries, settings.layers),
    )


def encoder_size(settings: EncoderSettings) -> ModelSize:
    """What documents go through; see `parameters`."""
    return encoder_sides(settings).documents


def _tower_size(tower: Tower, layers: int | None) -> ModelSize:
    if not isinstance(tower.source, Layout):
        width = read_table_shape(tower.source.folder).width
        return ModelSize(0, _numbers(tower_files(tower)), looked_up=width)
    headers = (read_headers([file]).items() for file in tower_files(tower))
    kept = [{name: h for name, h in each if is_kept(name, layers)} for each in headers]
    held = sum(_held(each) for each in kept)
    return ModelSize(sum(map(parameters, kept)), held, **_of_config(tower.source.config))


def late_sides(settings: LateSettings) -> Sides:
    """Of a model of token vectors."""
    tower = read_late_folder(settings).tower
    files = late_files(tower)
    size = ModelSize(_multiplied(files), _numbers_of_each(files), **_of_config(tower.source.config))
    return Sides(size, size)


def sparse_sides(settings: SparseSettings) -> Sides:
    """Of a learned sparse encoder, whose logits of all terms are made for every token."""
    towers = read_sparse_folder(settings).towers
    return Sides(_sparse_size(towers.documents), _sparse_size(towers.queries))


def _sparse_size(tower: SparseTower) -> ModelSize:
    if isinstance(tower, CountTower):
        return ModelSize(0, 0)
    files = find_weights(tower.source.transformer).files
    if isinstance(tower, TermTower):
        return ModelSize(0, _numbers(files), looked_up=1)
    config, terms, headers = tower.source.config, vocabulary(tower), read_headers(files)
    if isinstance(tower, SpaceTower):
        headers = {name: headers[name] for name in space_weights(headers, tower).values()}
    layers = {n: h for n, h in headers.items() if terms not in h.shape}
    mapped = 0 if isinstance(tower, OwnTower) else terms * hidden_width(config)
    return ModelSize(parameters(layers) + mapped, _held(headers), attention=attention_size(config))


def image_sides(settings: ImageSettings) -> Sides:
    """Of a model of pictures and texts: passages go through the tower of pictures, queries through
    that of texts."""
    headers = read_headers(find_weights(read_image_folder(settings).layout.transformer).files)
    vision, text = (
        {name: header for name, header in headers.items() if name.startswith(begin)}
        for begin in ("vis", "text_")
    )
    return Sides(*(ModelSize(parameters(h), _held(h), ours=False) for h in (vision, text)))


def cross_size(settings: CrossSettings) -> ModelSize:
    """Of the cross-encoder that the settings name; an adapter is merged into its base."""
    folder = read_reranker_folder(settings)
    if folder.head is not None:
        counted = _multiplied(tower_files(folder.head))
    else:
        counted = parameters(read_headers(find_weights(folder.layout.transformer).files))
    return ModelSize(counted, counted, **_of_config(folder.layout.config))


def decoder_size(layout: Layout) -> ModelSize:
    """Of a causal language model. Its last map is not among what is multiplied: of a token that is
    read, no logits are made."""
    files = find_weights(layout.transformer).files
    headers = read_headers(files)
    read = {name: header for name, header in headers.items() if name != HEAD}
    terms = layout.config.get("vocab_size")
    return ModelSize(
        multiplied=parameters(read),
        held=_numbers(files),
        kept=kept_numbers(layout.config),
        terms=terms if isinstance(terms, int) else 0,
        **_of_config(layout.config),
    )


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says of it."""
    ours = packs(config) or is_plain_decoder(config)
    return {"attention": attention_size(config), "ours": ours}


def _multiplied(files: Iterable[Path]) -> int:
    return sum(parameters(read_headers([file])) for file in files)


def _numbers_of_each(files: Iterable[Path]) -> int:
    """Of all tensors of files that may have names in common."""
    return sum(_numbers([file]) for file in files)


def _numbers(files: Iterable[Path]) -> int:
    """Of all tensors."""
    return _held(read_headers(files))


def _held(headers: Mapping[str, Header]) -> int:
    return sum(math.prod(header.shape) for header in headers.values())
