"""A model of token vectors as its folder and the settings have it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.late_settings import LateSettings
from shardrank.models.folder import limits
from shardrank.models.folder.encoder_folder import packs
from shardrank.models.folder.families import check_family
from shardrank.models.folder.late_config import Expansion, LateConfig, read_late_config
from shardrank.models.folder.late_modules import LateTower, read_late_tower
from shardrank.models.folder.layout import ENCODES
from shardrank.models.folder.modules import Dense
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.folder.weights import find_weights


@dataclass(frozen=True)
class LateFolder:
    """A model's folder as read; what the settings say of pooling and filling up is in the tower.

    Attributes:
        root: the folder.
        tower: how texts become token vectors.
        config: what stands before texts, and how long they are.
    """

    root: Path
    tower: LateTower
    config: LateConfig


def read_late_folder(settings: LateSettings) -> LateFolder:
    """The folder of the model of token vectors that the settings name.

    Raises:
        InputError: there is no such model, its files say something that is not understood, or its
            family is not run.
    """
    root = resolve_model(settings.model, settings.revision)
    # First, since it says which kind of model the folder is.
    config = read_late_config(root)
    tower = read_late_tower(root, config)
    check_family(tower.source.config, ENCODES, settings.trust_remote_code)
    _check_hidden(tower)
    pooling = tower.pooling
    if settings.pool is not None:
        pooling = replace(pooling, factor=settings.pool)
    expansion = _as_set(tower.expansion, settings.query_tokens)
    return LateFolder(root, replace(tower, pooling=pooling, expansion=expansion), config)


def _check_hidden(tower: LateTower) -> None:
    """DeBERTa's layers let a token that is not attended to attend to none, which none here do."""
    hidden = tower.expansion is not None and not tower.expansion.attended
    if hidden and str(tower.source.config.get("model_type", "")).startswith("deberta"):
        raise InputError(
            f"{tower.source.transformer} is a DeBERTa that does not attend to what fills queries up"
            ", which is not run.",
            "Use another model.",
        )


def _as_set(expansion: Expansion | None, length: int | None) -> Expansion | None:
    if expansion is None or length is None:
        return expansion
    return replace(expansion, length=length)


def document_tokens(folder: LateFolder, setting: int | None) -> int:
    """The longest text in tokens, special ones and the mark included.

    Raises:
        SettingsError: the setting is above the model's positions, or neither says it.
    """
    own = folder.tower.source.call.document_length or folder.config.document_length
    if setting is None and own is None and folder.config.kind != "native":
        raise SettingsError(
            f"{folder.root} does not say how long documents are: PyLate takes 180 tokens then, and "
            "sentence-transformers as many as the model has positions.",
            "Set document_tokens.",
        )
    return limits.max_tokens(folder.tower.source, setting, "encoder", own, "document_tokens")


def query_tokens(folder: LateFolder, setting: int | None) -> int:
    """The longest query, likewise: where queries are filled up and cut there, up to where.

    Raises:
        SettingsError: as `document_tokens`; or the model has not as many positions as it fills up.
    """
    source, expansion = folder.tower.source, folder.tower.expansion
    if expansion is not None and expansion.fixed:
        return limits.max_tokens(source, expansion.length, "encoder", None, "query_tokens")
    own = source.call.query_length or folder.config.query_length
    found = limits.max_tokens(source, setting, "encoder", own, "query_tokens")
    return found if expansion is None else max(found, expansion.length)


def late_files(tower: LateTower) -> list[Path]:
    """The files with weights that are read, in order."""
    folders = [tower.source.transformer]
    if not tower.inner:
        folders += [step.folder for step in tower.steps if isinstance(step, Dense)]
    return [file for folder in folders for file in find_weights(folder).files]


def late_facts(folder: LateFolder) -> dict[str, Any]:
    """What decides token vectors beside weights and tokeniser; JSON only."""
    tower, config = folder.tower, folder.config
    mask, expansion, pooling = tower.mask, tower.expansion, tower.pooling
    return {
        "config": limits.deciding_config(tower.source.config),
        "packed": packs(tower.source.config),
        "steps": [_step_facts(step) for step in tower.steps],
        "mask": [list(mask.skipped), mask.documents, mask.queries],
        "expansion": [expansion.length, expansion.attended, expansion.fixed, expansion.token]
        if expansion
        else [],
        "pooling": [pooling.factor, pooling.protected, pooling.normalise],
        "marks": [config.query.mark, config.document.mark],
    }


def _step_facts(step: Any) -> Any:
    if isinstance(step, Dense):
        return [step.inputs, step.outputs, step.bias, step.activation, step.residual]
    return "normalize"
