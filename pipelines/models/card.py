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
from pipelines.models.layout import Layout, read_json, read_layout
from pipelines.models.resolve import package_folder, resolve_model, resolve_reranker
from pipelines.models.text_input import checked_tokeniser
from pipelines.models.weights import files_of, weights_sha256

ADAPTER_WEIGHTS = "adapter.safetensors"
POOLINGS = ("mean", "cls", "last")
_ENCODER_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})


@dataclass(frozen=True)
class EncoderCard:
    """An encoder as it will run.

    Attributes:
        name: the model as the settings name it.
        fingerprint: of all that decides its vectors; the name and the place are not in it.
        dim: components of a vector, after any cut.
        max_tokens: the longest input, special tokens included.
        pooling: "mean", "cls" or "last".
        normalise: whether vectors are divided by their L2 norm.
        dtype: of the forward pass: "fp32", "bf16", "fp16" or "int8".
    """

    name: str
    fingerprint: str
    weights_sha256: str
    tokeniser_fingerprint: str
    dim: int
    max_tokens: int
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
    layout = read_layout(folder)
    _check_modules(layout, _ENCODER_MODULES)
    query = _or(settings.query_prompt, layout.query_prompt)
    document = _or(settings.document_prompt, layout.document_prompt)
    _check_prompts(layout, query + document)
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*files_of(layout.transformer)),
        "tokeniser_fingerprint": checked_tokeniser(folder, texts=1).fingerprint,
        "dim": _dim(layout, settings.dim),
        "max_tokens": limits.max_tokens(layout, settings.max_tokens, "encoder"),
        "pooling": _pooling(layout, settings.pooling),
        "normalise": _or(settings.normalise, _normalises(layout)),
        "query_prompt": query,
        "document_prompt": document,
        "dtype": limits.dtype(layout.config, settings.dtype, halve),
    }
    hidden = _hidden(layout, settings.trust_remote_code)
    return EncoderCard(
        name=settings.model, fingerprint=fingerprint(["encoder-1", deciding, hidden]), **deciding
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
    own = _adapter_values(folders.adapter) if folders.adapter else _whole_values(layout)
    limit = settings.max_tokens or own.get("max_length")
    adapter = files_of(folders.adapter) if folders.adapter else []
    deciding: dict[str, Any] = {
        "weights_sha256": weights_sha256(*files_of(layout.transformer), *adapter),
        "tokeniser_fingerprint": checked_tokeniser(folders.base, texts=2).fingerprint,
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


def _check_prompts(layout: Layout, prompts: str) -> None:
    if prompts and not layout.pools_prompt:
        raise InputError(
            "The model leaves its prompt's tokens out of the pooling (include_prompt = false), "
            "which is not supported.",
            "Use another model, or set both prompts to the empty string.",
        )


def _normalises(layout: Layout) -> bool:
    return "Normalize" in layout.modules or layout.similarity == "cosine"


def _pooling(layout: Layout, setting: str) -> str:
    pooling = layout.pooling if setting == "auto" else setting
    if pooling not in POOLINGS:
        raise InputError(
            f"The model pools by {pooling}, which is not supported.",
            f"Use another model, or set encoder.pooling to one of {', '.join(POOLINGS)}.",
        )
    return pooling


def _dim(layout: Layout, setting: int | None) -> int:
    width = limits.width(layout.config)
    if setting is not None and setting > width:
        raise SettingsError(
            f"encoder.dim = {setting}, but the model's vectors have {width} components.",
            f"Set encoder.dim to {width} or less.",
        )
    return setting or width


def _hidden(layout: Layout, trusted: bool) -> dict[str, Any]:
    """What decides results and needs no field of its own: the architecture, and trusted code."""
    code = files_of(layout.transformer, "*.py") if trusted else []
    return {
        "config": limits.deciding_config(layout.config),
        "code": weights_sha256(*code) if code else None,
    }
