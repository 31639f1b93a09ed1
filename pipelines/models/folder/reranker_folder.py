"""A cross-encoder as its folder has it: a whole model, or an adapter shipped for a base."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.families import check_family
from shardrank.models.folder.layout import CLASSIFIES, Layout, read_layout
from shardrank.models.folder.modules import read_cross_encoder
from shardrank.models.folder.reading import read_object
from shardrank.models.folder.resolve import package_folder, resolve_reranker
from shardrank.models.folder.sentence_config import check_activation, read_reranker_prompt

ADAPTER_WEIGHTS = "adapter.safetensors"
_ADAPTER_KEYS = frozenset({"base_package", "alpha", "max_length", "interpolation"})


@dataclass(frozen=True)
class RerankerFolder:
    """A reranker's folder as read.

    Attributes:
        layout: of the model, or of the base that an adapter belongs to.
        adapter: the adapter's folder; none where the model is whole.
        prompt: put before queries.
        own: what the folder says for shardrank: max_length, interpolation, alpha; as far as it
            says it.
    """

    layout: Layout
    adapter: Path | None
    prompt: str
    own: Mapping[str, Any]


def read_reranker_folder(settings: CrossSettings) -> RerankerFolder:
    """The folder of the reranker that the settings name.

    Raises:
        InputError: there is no such model, its base package is not installed, it is no classifier
            with one label, or its files say something that is not understood.
    """
    folder = resolve_reranker(settings.model, settings.revision)
    if (folder / ADAPTER_WEIGHTS).is_file():
        values = _adapter_values(folder)
        base = read_layout(package_folder(values["base_package"]), plain=True)
        return RerankerFolder(base, folder, "", values)
    layout = read_cross_encoder(folder)
    check_family(layout.config, CLASSIFIES, settings.trust_remote_code)
    check_activation(layout.transformer / "config.json", layout.config)
    _check_labels(layout)
    own = layout.config.get("shardrank", {})
    return RerankerFolder(layout, None, read_reranker_prompt(folder), own)


def _adapter_values(folder: Path) -> dict[str, Any]:
    values = read_object(folder / "config.json")
    missing = _ADAPTER_KEYS - values.keys()
    if missing:
        raise InputError(
            f"{folder / 'config.json'} lacks {', '.join(sorted(missing))}.",
            "Name the folder of a complete adapter.",
        )
    return values


def _check_labels(layout: Layout) -> None:
    """One label, by config.json; which a model has that names no classifier at all says its head.

    transformers gives two where `id2label` and `num_labels` are left out; a class that is no
    classifier's gets one by sentence-transformers, and has no head in its weights.
    """
    if not layout.architecture.endswith("ForSequenceClassification") and layout.architecture:
        raise InputError(
            f"{layout.transformer} is a {layout.architecture}, and a reranker is a sequence "
            "classifier (…ForSequenceClassification) with one label.",
            "Name a cross-encoder's folder.",
        )
    labels = layout.config.get("id2label") or layout.config.get("num_labels", 2)
    count = labels if isinstance(labels, int) else len(labels)
    if count != 1:
        raise InputError(
            f"{layout.transformer} has {count} labels; a reranker has one, its relevance.",
            "Name a cross-encoder that was trained with num_labels = 1.",
        )
