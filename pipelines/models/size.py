"""How much a model multiplies: counted from the headers of its weights. Imports no torch."""

import json
import math
from pathlib import Path

from pipelines.core.settings import EncoderSettings, RerankerSettings
from pipelines.models.card import reranker_folders
from pipelines.models.folder.modules import StaticTable, read_towers
from pipelines.models.layout import read_layout
from pipelines.models.resolve import resolve_model
from pipelines.models.weights import files_of


def encoder_parameters(settings: EncoderSettings) -> int:
    """Of the tower for documents of the encoder that the settings name; see `multiplied`."""
    source = read_towers(resolve_model(settings.model, settings.revision)).documents.source
    return multiplied(source.folder if isinstance(source, StaticTable) else source.transformer)


def reranker_parameters(settings: RerankerSettings) -> int:
    """Of the reranker that the settings name; an adapter is merged into its base."""
    return multiplied(read_layout(reranker_folders(settings).base).transformer)


def multiplied(folder: Path) -> int:
    """The parameters that each token is multiplied with: all matrices but embeddings, which are
    looked up."""
    return sum(_matrices(file) for file in files_of(folder))


def _matrices(file: Path) -> int:
    """Of one file; a header is JSON after 8 bytes of its length (https://huggingface.co/docs/
    safetensors)."""
    with open(file, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if "embed" not in name and len(tensor.get("shape", ())) > 1
    )
