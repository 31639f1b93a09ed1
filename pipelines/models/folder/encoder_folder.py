"""A bi-encoder as its folder and the settings have it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shardrank.core.errors import SettingsError
from shardrank.core.model_settings import EncoderSettings
from shardrank.models.folder import limits
from shardrank.models.folder.decoder_encoder import REVISION as DECODER_REVISION
from shardrank.models.folder.decoder_encoder import is_packed_decoder
from shardrank.models.folder.families import check_tower
from shardrank.models.folder.hashes import files_of, weights_sha256
from shardrank.models.folder.layers import first_layers
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import (
    Dense,
    Normalize,
    OwnModule,
    StepModule,
    Tower,
    Towers,
    read_towers,
)
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.folder.sentence_config import EncoderConfig, read_encoder_config
from shardrank.models.folder.weights import find_weights


@dataclass(frozen=True)
class EncoderFolder:
    """An encoder's folder as read.

    Attributes:
        towers: how documents and queries become vectors; the settings' pooling and normalising
            are in them.
        config: prompts, similarity and cut, as the folder says.
    """

    root: Path
    towers: Towers
    config: EncoderConfig

    @property
    def one_way(self) -> bool:
        """Whether queries go the way of documents."""
        return self.towers.documents == self.towers.queries


def read_encoder_folder(settings: EncoderSettings) -> EncoderFolder:
    """The folder of the encoder that the settings name.

    Raises:
        InputError: there is no such model, its files say something that is not understood, or its
            family or a module of it is not run.
        SettingsError: a setting is of no use to the model.
    """
    folder = resolve_model(settings.model, settings.revision)
    towers = read_towers(folder)
    config = read_encoder_config(folder)
    for tower in (towers.documents, towers.queries):
        check_tower(tower, settings.trust_remote_code)
    return EncoderFolder(folder, _as_set(towers, settings), config)


def tower_files(tower: Tower) -> list[Path]:
    """The files with weights that a tower reads, in order."""
    folders = [_source_folder(tower)]
    folders += [step.folder for step in tower.steps if isinstance(step, Dense)]
    return [file for folder in folders for file in find_weights(folder).files]


def tower_facts(tower: Tower) -> dict[str, Any]:
    """What decides a tower's vectors beside weights and tokeniser; JSON only."""
    config = tower.source.config if isinstance(tower.source, Layout) else {}
    return {
        **({"forward": DECODER_REVISION} if is_packed_decoder(config) else {}),
        "config": limits.deciding_config(config),
        "pooling": [*tower.pooling.modes, tower.pooling.includes_prompt] if tower.pooling else [],
        "steps": [_step_facts(step) for step in tower.steps],
        "body": _step_facts(tower.body) if tower.body else None,
    }


def configs(towers: Towers) -> list[Mapping[str, Any]]:
    """The config.json of each transformer among the towers that runs in a type of our choice."""
    both = towers.documents, towers.queries
    sources = (tower.source for tower in both if tower.body is None)
    return [source.config for source in sources if isinstance(source, Layout)]


def packs(config: Mapping[str, Any]) -> bool:
    """Whether our own forward pass runs an encoder of that config.json, without padding."""
    return limits.runs_packed(config) or is_packed_decoder(config)


def _as_set(towers: Towers, settings: EncoderSettings) -> Towers:
    """The towers with the pooling that is set, and without a norm as the last step where the
    settings want none, cut to the layers that are set."""
    if settings.pooling != "auto" and not (towers.documents.pooling or towers.queries.pooling):
        raise SettingsError(
            f"encoder.pooling = {settings.pooling}, but the model is a table of token vectors, "
            "whose mean is taken.",
            "Leave encoder.pooling out.",
        )
    return Towers(_chosen(towers.documents, settings), _chosen(towers.queries, settings))


def _chosen(tower: Tower, settings: EncoderSettings) -> Tower:
    pooling, steps = tower.pooling, tower.steps
    if pooling is not None and settings.pooling != "auto":
        pooling = replace(pooling, modes=(settings.pooling,))
    if settings.normalise is False and steps and isinstance(steps[-1], Normalize):
        steps = steps[:-1]
    chosen = replace(tower, pooling=pooling, steps=steps)
    return first_layers(chosen, settings.layers) if settings.layers else chosen


def _source_folder(tower: Tower) -> Path:
    source = tower.source
    return source.transformer if isinstance(source, Layout) else source.folder


def _step_facts(step: StepModule) -> Any:
    if isinstance(step, Dense):
        return ["dense", step.inputs, step.outputs, step.bias, step.activation, step.residual]
    if isinstance(step, OwnModule):
        return ["own", step.reference, [weights_sha256(f) for f in files_of(step.folder, "*.*")]]
    return "normalize"
