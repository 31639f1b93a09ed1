"""The first layers of an encoder alone: 2D Matryoshka (Li et al. 2024, arXiv 2402.14776).

A model that was trained for it gives useful vectors after fewer layers than it has. The others are
as if they had never been: what stands behind the last layer, such as a norm, stands behind the last
one that is kept, as in a model of the library with a smaller num_hidden_layers.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shardrank.core.errors import SettingsError
from shardrank.models.folder.decoder_encoder import encoder_shape, is_packed_decoder
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modern import ModernShape, is_modern
from shardrank.models.folder.modules import Tower
from shardrank.models.folder.packable import is_packable, sizes
from shardrank.models.folder.packed_families import FAMILIES

#: Keys of config.json that say something of each layer.
_OF_EACH = ("layer_types",)

#: A weight's name up to the number of its layer.
_NUMBERED = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def first_layers(tower: Tower, count: int) -> Tower:
    """The tower with so many layers.

    Raises:
        SettingsError: it has fewer, or none that are run one after another by our own forward pass.
    """
    source = tower.source
    if not isinstance(source, Layout) or tower.body is not None:
        raise _refused(count, "the model is no stack of layers that is known here")
    held = _layers(source.config)
    if held is None:
        kind = source.config.get("model_type")
        raise _refused(count, f"layers of the family {kind!r} are not left out here")
    if count > held:
        raise _refused(count, f"the model has {held}")
    return replace(tower, source=replace(source, config=_cut(source.config, count)))


def is_kept(name: str, count: int | None) -> bool:
    """Whether a weight of a name is used where so many layers are; none: all are."""
    found = _NUMBERED.search(name)
    return count is None or found is None or int(found[1]) < count


def _layers(config: Mapping[str, Any]) -> int | None:
    """How many a model has; none where our own forward pass is not the model's."""
    if is_packable(config):
        return sizes(config).layers
    if is_modern(config):
        return len(ModernShape.of(config).reaches)
    return encoder_shape(config).layers if is_packed_decoder(config) else None


def _cut(config: Mapping[str, Any], count: int) -> dict[str, Any]:
    family = FAMILIES.get(str(config["model_type"]))
    name = family.keys.get("num_hidden_layers") if family else None
    lists = {key: config[key][:count] for key in _OF_EACH if config.get(key)}
    return {**config, **lists, name or "num_hidden_layers": count}


def _refused(count: int, why: str) -> SettingsError:
    return SettingsError(
        f"encoder.layers = {count}, but {why}.", "Lower encoder.layers, or leave it out."
    )
