"""A cross-encoder as its folder has it: a whole model, or an adapter shipped for a base."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.cross_modules import POINTWISE, CrossModules, read_cross_encoder
from shardrank.models.folder.families import check_family
from shardrank.models.folder.layout import CLASSIFIES, ENCODES, Layout, read_layout
from shardrank.models.folder.modules import Tower
from shardrank.models.folder.reading import read_object
from shardrank.models.folder.relevance import label_names, relevant_label, unnamed
from shardrank.models.folder.resolve import package_folder, resolve_reranker
from shardrank.models.folder.sentence_config import read_activation, read_reranker_prompt

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
        head: from the tokens of an encoder to the scores; none where the model is a classifier.
        relevant: which of two labels is relevance; none where there is one label.
        activation: what the library would do to a logit, and is not done; "" where it is not said.
    """

    layout: Layout
    adapter: Path | None
    prompt: str
    own: Mapping[str, Any]
    head: Tower | None = None
    relevant: int | None = None
    activation: str = ""

    @property
    def labels(self) -> int:
        """How many logits a pair has."""
        return 1 if self.relevant is None else 2


def read_reranker_folder(settings: CrossSettings) -> RerankerFolder:
    """The folder of the reranker that the settings name.

    Raises:
        InputError: there is no such model, its base package is not installed, it is no classifier
            with one label or two, or its files say something that is not understood.
    """
    folder = resolve_reranker(settings.model, settings.revision)
    if (folder / ADAPTER_WEIGHTS).is_file():
        values = _adapter_values(folder)
        base = read_layout(package_folder(values["base_package"]), plain=True)
        return RerankerFolder(base, folder, "", values)
    modules = read_cross_encoder(folder)
    layout, head = modules.layout, modules.head
    check_family(layout.config, ENCODES if head else CLASSIFIES, settings.trust_remote_code)
    return RerankerFolder(
        layout,
        adapter=None,
        prompt=read_reranker_prompt(folder),
        own=layout.config.get("shardrank", {}),
        head=head,
        relevant=_relevant(modules),
        activation=read_activation(folder, layout),
    )


def _adapter_values(folder: Path) -> dict[str, Any]:
    values = read_object(folder / "config.json")
    missing = _ADAPTER_KEYS - values.keys()
    if missing:
        raise InputError(
            f"{folder / 'config.json'} lacks {', '.join(sorted(missing))}.",
            "Name the folder of a complete adapter.",
        )
    return values


def _relevant(modules: CrossModules) -> int | None:
    """Which of two labels is relevance. Those of a head have no names: the second, as without any.

    A model that names no classifier at all says its labels; a class that is no classifier's gets
    one by sentence-transformers, and has no head in its weights.
    """
    layout = modules.layout
    if modules.labels:
        return relevant_label(layout.transformer, unnamed(modules.labels))
    if not layout.architecture.endswith("ForSequenceClassification") and layout.architecture:
        speaks = layout.architecture.endswith("ForCausalLM")
        raise InputError(
            f"{layout.transformer} is a {layout.architecture}, and a cross-encoder is a sequence "
            "classifier (…ForSequenceClassification) with one label or two.",
            POINTWISE if speaks else "Name a cross-encoder's folder.",
        )
    return relevant_label(layout.transformer, label_names(layout.transformer, layout.config))
