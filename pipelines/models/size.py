"""How much a model multiplies and holds: counted from the headers of its weights. Imports no
torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.decoder_size import kept_numbers
from shardrank.models.folder.encoder_folder import read_encoder_folder, tower_files
from shardrank.models.folder.headers import parameters, read_headers
from shardrank.models.folder.layers import is_kept
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.plain_decoder import HEAD
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.weights import find_weights


@dataclass(frozen=True)
class ModelSize:
    """How much a model multiplies and holds, in numbers.

    Attributes:
        multiplied: that each token is multiplied with.
        held: of its weights; of a cross-encoder its embeddings are left out.
        kept: of the keys and values of a token that others attend to later.
        terms: of the vocabulary, whose logits are made for a token that is written.
    """

    multiplied: int
    held: int
    kept: int = 0
    terms: int = 0


def encoder_parameters(settings: EncoderSettings) -> int:
    """The parameters that each token of a document is multiplied with; see `parameters`."""
    files = tower_files(read_encoder_folder(settings).towers.documents)
    headers = (read_headers([file]).items() for file in files)
    kept = [{name: h for name, h in each if is_kept(name, settings.layers)} for each in headers]
    return sum(map(parameters, kept))


def listing_encoder_size(settings: EncoderSettings) -> ModelSize:
    """Of an encoder that reranks."""
    files = tower_files(read_encoder_folder(settings).towers.documents)
    return ModelSize(_multiplied(files), sum(_numbers([file]) for file in files))


def cross_size(settings: CrossSettings) -> ModelSize:
    """Of the cross-encoder that the settings name; an adapter is merged into its base."""
    folder = read_reranker_folder(settings)
    if folder.head is not None:
        counted = _multiplied(tower_files(folder.head))
    else:
        counted = parameters(read_headers(find_weights(folder.layout.transformer).files))
    return ModelSize(counted, counted)


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
    )


def _multiplied(files: Iterable[Path]) -> int:
    return sum(parameters(read_headers([file])) for file in files)


def _numbers(files: Iterable[Path]) -> int:
    """Of all tensors."""
    return sum(math.prod(header.shape) for header in read_headers(files).values())
