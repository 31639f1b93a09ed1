"""How many components a tower's vectors have, by its files."""

from collections.abc import Mapping
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.late_modules import LateTower
from shardrank.models.folder.modules import Dense, OwnModule, StaticTable, Tower
from shardrank.models.folder.table import read_table_shape

_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim")


def tower_width(tower: Tower) -> int:
    """Components of a vector before any cut.

    Raises:
        InputError: the files say none, or a step takes another number than the one before gives.
    """
    width = _source_width(tower)
    for step in tower.steps:
        if isinstance(step, Dense):
            width = _mapped(width, step)
        elif isinstance(step, OwnModule):
            width = _own_width(step)
    return width


def late_width(tower: LateTower) -> int:
    """Components of a token's vector; raises as `tower_width`."""
    width = hidden_width(tower.source.config)
    for step in tower.steps:
        if isinstance(step, Dense):
            width = _mapped(width, step)
    return width


def _mapped(width: int, step: Dense) -> int:
    if step.inputs != width:
        raise InputError(
            f"{step.folder} takes vectors of {step.inputs} components, and gets {width}.",
            "Name a complete model folder.",
        )
    return step.outputs


def _own_width(step: OwnModule) -> int:
    import torch  # only where an author's own code is trusted

    from shardrank.models.encoders.own_module import load_own

    return load_own(step, torch.device("cpu")).width


def hidden_width(config: Mapping[str, Any]) -> int:
    """Components of a transformer's hidden states.

    Raises:
        InputError: config.json names none.
    """
    for name in _WIDTHS:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise InputError(
        f"config.json names no width under {', '.join(_WIDTHS)}.", "Use a text encoder's folder."
    )


def _source_width(tower: Tower) -> int:
    """Of what the steps begin with."""
    if isinstance(tower.source, StaticTable):
        return read_table_shape(tower.source.folder).width
    modes = tower.pooling.modes if tower.pooling else ("",)
    return hidden_width(tower.source.config) * len(modes)
