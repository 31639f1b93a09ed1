"""Cards: all that decides a model's results, read from its files without loading it.

The driver plans with cards and puts their fingerprints into units; a worker reads the card again
and refuses a model that differs. Imports no torch and no transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.core.errors import InputError, IntegrityError, SettingsError
from pipelines.core.fingerprint import fingerprint
from pipelines.core.settings import EncoderSettings, ModelSettings, RerankerSettings
from pipelines.models import limits
from pipelines.models.folder.chosen import chosen_towers
from pipelines.models.folder.families import check_family, check_tower
from pipelines.models.folder.layout import Layout as NewLayout
from pipelines.models.folder.modules import (
    Dense,
    StaticTable,
    Tower,
    Towers,
)
from pipelines.models.folder.sentence_config import read_encoder_config
from pipelines.models.folder.table import UNLIMITED, longest_input
from pipelines.models.folder.width import tower_width
from pipelines.models.layout import Layout, read_json, read_layout
from pipelines.models.resolve import package_folder, resolve_model, resolve_reranker
from pipelines.models.tokens import load_tokeniser, tower_tokeniser
from pipelines.models.weights import files_of, weights_sha256

ADAPTER_WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True)
class EncoderCard:
    """An encoder as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its vectors; the name and the place are not in it.
        dim: components of a vector, after any cut.
        max_tokens: the longest document, special tokens included.
        query_max_tokens: the longest query, likewise.
        pooling: its modes by name, joined by "+" where several stand side by side; "" for a table.
        normalise: whether vectors are divided by their L2 norm at the end, after the cut.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    max_tokens: int
    query_max_tokens: int
    pooling: str
    normalise: bool
    query_prompt: str
    document_prompt: str
    dtype: str

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> "EncoderCard":
        """The card in a version, which holds more beside it."""
        return cls(**{field.name: stored[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class RerankerCard:
    """A reranker as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its logits, which the interpolation does not.
        max_tokens: the longest pair, special tokens included.
        interpolation: a in a·logit + (1-a)·retrieval score.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    max_tokens: int
    interpolation: float
    dtype: str


@dataclass(frozen=True)
class RerankerFolders:
    """Where a reranker's files are. A whole model has no adapter, and its base is its folder."""

    base: Path
    adapter: Path | None


def read_encoder_card(settings: EncoderSettings, halve: bool = False) -> EncoderCard:
    """The card of the encoder that the settings name; settings win over the model's files.

    `halve` says that dtype = "auto" may mean bf16.

    Vectors are normalised where the model has a Normalize module or is compared by cosine
    (sentence-transformers' default): search is by inner product, which is then the cosine.

    Raises:
        InputError: there is no such model, or it needs a module or pooling that is not supported.
        SettingsError: a setting asks for more than the model has.
    """
    folder = resolve_model(settings.model, settings.revision)
    towers, own = chosen_towers(folder, settings), read_encoder_config(folder)
    documents, queries = towers.documents, towers.queries
    each = (documents,) if documents == queries else (documents, queries)
    for tower in each:
        check_tower(tower, settings.trust_remote_code)
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*files_of(_place(documents))),
        "tokeniser_fingerprint": tower_tokeniser(documents).fingerprint,
        "dim": _dim(towers, settings.dim or own.truncate_dim),
        "max_tokens": _longest(documents, settings.max_tokens),
        "query_max_tokens": _longest(queries, settings.max_tokens),
        "pooling": "+".join(documents.pooling.modes) if documents.pooling else "",
        "normalise": _or(settings.normalise, own.similarity == "cosine"),
        "query_prompt": _or(settings.query_prompt, own.query_prompt),
        "document_prompt": _or(settings.document_prompt, own.document_prompt),
        "dtype": _dtype(towers, settings.dtype, halve),
    }
    hidden = [_tower_hidden(tower, settings.trust_remote_code) for tower in each]
    return EncoderCard(
        name=settings.model, fingerprint=fingerprint(["encoder-2", deciding, hidden]), **deciding
    )


def read_reranker_card(settings: RerankerSettings, halve: bool = False) -> RerankerCard:
    """The card of the reranker that the settings name; settings win over the model's files.

    `halve` says that dtype = "auto" may mean bf16.

    The interpolation of a whole model is `shardrank.interpolation` in its config.json (a table
    "shardrank" with a key "interpolation"), else 1: the logit alone.

    Raises:
        InputError: there is no such model, or it needs a module that is not supported.
        SettingsError: a setting asks for more than the model has.
    """
    folders = reranker_folders(settings)
    layout = read_layout(folders.base)
    check_family(layout.config, "sequence-classification", settings.trust_remote_code)
    own = _adapter_values(folders.adapter) if folders.adapter else _whole_values(layout)
    limit = settings.max_tokens or own.get("max_length")
    adapter = files_of(folders.adapter) if folders.adapter else []
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*files_of(layout.transformer), *adapter),
        "tokeniser_fingerprint": load_tokeniser(folders.base).fingerprint,
        "max_tokens": limits.max_tokens(layout, limit, "reranker"),
        "dtype": limits.dtype(layout.config, settings.dtype, halve),
    }
    hidden = {**_hidden(layout, settings.trust_remote_code), "adapter": own.get("alpha")}
    return RerankerCard(
        name=settings.model,
        fingerprint=fingerprint(["reranker-1", deciding, hidden]),
        interpolation=float(_or(settings.interpolation, own.get("interpolation", 1.0))),
        **deciding,
    )


def settled(settings: ModelSettings, card: EncoderCard | RerankerCard) -> ModelSettings:
    """The settings with the card's dtype: what every worker loads, whatever its own CPU can do."""
    return settings.model_copy(update={"dtype": card.dtype})


def check_fingerprint(name: str, expected: str | None, found: str) -> None:
    """Refuse a model that is not the one whose results are stored.

    Raises:
        IntegrityError: the fingerprints differ.
    """
    if expected is not None and expected != found:
        raise IntegrityError(
            f"The model {name!r} has fingerprint {found} on this worker, not {expected}: model "
            "and index do not match.",
            "Give every worker the same model files and settings, or index again.",
        )


def reranker_folders(settings: RerankerSettings) -> RerankerFolders:
    """Where the files of the reranker are that the settings name.

    Raises:
        InputError: there is no such model, or its base package is not installed.
    """
    folder = resolve_reranker(settings.model, settings.revision)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        return RerankerFolders(folder, None)
    return RerankerFolders(package_folder(_adapter_values(folder)["base_package"]), folder)


def _or(setting: Any, own: Any) -> Any:
    return own if setting is None else setting


def _adapter_values(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = read_json(folder / "config.json")
    missing = {"base_package", "alpha", "max_length", "interpolation"} - values.keys()
    if missing:
        raise InputError(
            f"{folder / 'config.json'} lacks {', '.join(sorted(missing))}.",
            "Name the folder of a complete adapter.",
        )
    return values


def _whole_values(layout: Layout) -> dict[str, Any]:
    _check_modules(layout, frozenset({"Transformer"}))
    return dict(layout.config.get("shardrank", {}))


def _check_modules(layout: Layout, supported: frozenset[str]) -> None:
    unknown = sorted(set(layout.modules) - supported)
    if unknown:
        raise InputError(
            f"The model's modules.json has {', '.join(unknown)}, which is not supported "
            f"(supported: {', '.join(sorted(supported))}).",
            "Use a model without these modules.",
        )


def _place(tower: Tower) -> Path:
    """Where a tower's weights and tokeniser are."""
    return (
        tower.source.folder if isinstance(tower.source, StaticTable) else tower.source.transformer
    )


def _longest(tower: Tower, setting: int | None) -> int:
    if isinstance(tower.source, StaticTable):
        return min(setting or UNLIMITED, longest_input(tower.source.folder))
    return limits.max_tokens(read_layout(tower.source.transformer), setting, "encoder")


def _dtype(towers: Towers, setting: str, halve: bool) -> str:
    """Of the documents' transformer; one of queries alone runs in it too."""
    configs = [
        tower.source.config
        for tower in (towers.documents, towers.queries)
        if not isinstance(tower.source, StaticTable)
    ]
    found = [limits.dtype(config, setting, halve) for config in configs]
    return found[0] if found else "fp32"


def _dim(towers: Towers, setting: int | None) -> int:
    width, other = tower_width(towers.documents), tower_width(towers.queries)
    if width != other:
        raise InputError(
            f"The model's documents have {width} components and its queries {other}.",
            "Use another model.",
        )
    if setting is not None and setting > width:
        raise SettingsError(
            f"encoder.dim = {setting}, but the model's vectors have {width} components.",
            f"Set encoder.dim to {width} or less.",
        )
    return setting or width


def _tower_hidden(tower: Tower, trusted: bool) -> list[Any]:
    """What of one tower decides results and needs no field of its own."""
    steps = [
        [weights_sha256(*files_of(step.folder)), step.activation, step.residual]
        if isinstance(step, Dense)
        else "normalise"
        for step in tower.steps
    ]
    pooled = [tower.pooling.modes, tower.pooling.includes_prompt] if tower.pooling else []
    own = {} if isinstance(tower.source, StaticTable) else _hidden(tower.source, trusted)
    files = weights_sha256(*files_of(_place(tower)))
    return [files, tower_tokeniser(tower).fingerprint, pooled, steps, own]


def _hidden(layout: Layout | NewLayout, trusted: bool) -> dict[str, Any]:
    """What decides results and needs no field of its own: the architecture, and trusted code."""
    code = files_of(layout.transformer, "*.py") if trusted else []
    return {
        "config": limits.deciding_config(layout.config),
        "code": weights_sha256(*code) if code else None,
    }
