"""How much a model multiplies: counted from the headers of its weights. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.encoder_folder import read_encoder_folder, tower_files
from shardrank.models.folder.headers import parameters, read_headers
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.weights import find_weights


def encoder_parameters(settings: EncoderSettings) -> int:
    """The parameters that each token of a document is multiplied with; see `parameters`."""
    return _multiplied(tower_files(read_encoder_folder(settings).towers.documents))


def cross_parameters(settings: CrossSettings) -> int:
    """Of the cross-encoder that the settings name; an adapter is merged into its base."""
    folder = read_reranker_folder(settings)
    if folder.head is not None:
        return _multiplied(tower_files(folder.head))
    return parameters(read_headers(find_weights(folder.layout.transformer).files))


def _multiplied(files: Iterable[Path]) -> int:
    return sum(parameters(read_headers([file])) for file in files)
